"""What the clouds have in common: a key, a list of models in pages, and limits told in headers."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import ClassVar, TypeVar

import msgspec
from msgspec import Struct

from meshlight.backends.address import Address, parse_address
from meshlight.backends.cloud_reasons import KEYS
from meshlight.backends.engine import Engine
from meshlight.backends.kind import Asks, Field, Found, Group, Probe
from meshlight.backends.listing import BODY_LIMIT
from meshlight.backends.quote import clean
from meshlight.backends.rate_limits import limits_say
from meshlight.backends.reasons import no_list_reason, status_fact
from meshlight.backends.response import Headers
from meshlight.domain.backend import Backend, Ring
from meshlight.domain.errors import BadAddress, UpstreamError
from meshlight.domain.health import Answered, Failed
from meshlight.domain.model import ModelDetail

PROBE_CLOUD_S = 5.0
"""For each page: a TLS handshake with another continent is part of it, and it is asked once a minute."""
CURSOR_MAX = 1_024
PAGES_MAX = 6
"""The first page and five more, of a thousand models each."""


_T = TypeVar("_T")


class Page(Struct, frozen=True):
    """One page of a provider's list."""

    models: tuple[str, ...]
    details: Mapping[str, ModelDetail]
    next: str = ""
    """The path of the next page; empty after the last one."""


class Cloud(Engine):
    """A provider that many accounts share; the free list of models is all that a probe asks for."""

    group: ClassVar[Group] = "cloud"
    default_ring: ClassVar[Ring | None] = "cloud"
    start: ClassVar[str] = "Check the network, and the address"  # nobody starts it
    key_placeholder: ClassVar[str]

    @property
    def fields(self) -> tuple[Field, ...]:
        """A key; the address only for those who have a gateway of their own before it."""
        return (
            Field(
                name="api_key",
                label="API key",
                required=True,
                is_secret=True,
                hint=f"Made at {KEYS[self.kind]}.",
                placeholder=self.key_placeholder,
            ),
            Field(
                name="url",
                label="Address",
                hint="Another one only for a gateway or proxy of your own.",
                placeholder=self.default_url,
                default=self.default_url,
            ),
        )

    async def recognise(self, upstream: Asks) -> Found | None:  # noqa: ARG002 — what it is asked is of no use
        """A cloud is never found on this machine: nothing is asked."""
        return None

    async def probe(self, upstream: Asks, backend: Backend, secret: str | None) -> Probe:
        """Ask for the models, page by page; whatever goes wrong becomes the fact."""
        path, headers = self.list_path, self.authorize(secret)
        models: dict[str, None] = {}
        details: dict[str, ModelDetail] = {}
        about: Mapping[str, str] | None = None
        latency_s: float | None = None
        for _ in range(PAGES_MAX):
            try:
                reply = await upstream.fetch(
                    "GET", path, headers=headers, timeout_s=PROBE_CLOUD_S, limit=BODY_LIMIT
                )
            except UpstreamError as error:
                return self.missed(error, backend)
            about = self.headers_say(reply.headers) or about
            if reply.status != 200:
                return Probe(fact=status_fact(reply, backend, self.label, secret), about=about)
            page = self.read_page(reply.body)
            if page is None:
                return Probe(fact=Failed(no_list_reason(reply, backend, self.label, secret)))
            models |= dict.fromkeys(page.models)
            details |= page.details
            latency_s = reply.elapsed_s if latency_s is None else latency_s
            if not page.next:
                break
            path = page.next
        return Probe(
            fact=Answered(latency_s),
            models=tuple(models),
            details=details,
            about=about,
            warnings=open_key_warnings(backend, has_key=bool(headers)),
        )

    def read_page(self, body: bytes) -> Page | None:
        """Read one page of the list; None when it is none."""
        listing = self.read(body)
        return None if listing is None else Page(listing.models, {})

    def headers_say(self, headers: Headers) -> Mapping[str, str] | None:
        """Read what is left of the account's limits."""
        return limits_say(headers)


def read_envelope(body: bytes, shape: type[_T]) -> _T | None:
    """Read what a page says around its items; None when it is no such page."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def is_cursor(text: str | None) -> bool:
    """Whether a provider's mark of where its list goes on may be sent back to it."""
    return text is not None and 0 < len(text) <= CURSOR_MAX and text.isprintable()


def open_key_warnings(backend: Backend, *, has_key: bool) -> tuple[str, ...]:
    """Say when a key goes over a network in the open."""
    try:
        address = parse_address(backend.url)
    except BadAddress:
        return ()
    if not has_key or address.scheme != "http" or _is_here(address):
        return ()
    place = clean(address.place)
    return (f"The API key goes to {place} unencrypted: anybody on the way can read it. Use https://.",)


def _is_here(address: Address) -> bool:
    try:
        return bool(address.socket) or ip_address(address.host).is_loopback
    except ValueError:
        return address.host == "localhost" or address.host.endswith(".localhost")
