"""What the clouds have in common: a key, a list of models in pages, and rate limits in headers."""

from collections.abc import Mapping
from ipaddress import ip_address
from typing import ClassVar

from msgspec import Struct

from meshlight.backends.base import PROXY_FIELD, BackendKind, DetectedEngine, Field, Group, HttpClient, Probe
from meshlight.backends.diagnostics import no_list_reason, status_fact
from meshlight.backends.model_list import BODY_LIMIT
from meshlight.domain.account_limits import limit_lines
from meshlight.domain.backend import Backend, ModelDetail, Ring
from meshlight.domain.cloud_keys import KEY_PAGES
from meshlight.domain.errors import BadAddress, UpstreamError
from meshlight.domain.health import Answered, Failed
from meshlight.domain.text import sanitize_line
from meshlight.http_client.address import Address, parse_address

PROBE_CLOUD_S = 5.0
"""For each page, in seconds: it includes a TLS handshake with another continent, once a minute."""
CURSOR_MAX = 1_024
PAGES_MAX = 6
"""The first page and five more, of a thousand models each."""


class Page(Struct, frozen=True):
    """One page of a provider's list."""

    models: tuple[str, ...]
    details: Mapping[str, ModelDetail]
    next: str = ""
    """The path of the next page; empty after the last one."""


class Cloud(BackendKind):
    """A provider that many accounts share; a probe reads nothing but the list of models, which is free."""

    group: ClassVar[Group] = "cloud"
    default_ring: ClassVar[Ring | None] = "cloud"
    start: ClassVar[str] = "Check the network, and the address"  # users can't start it
    probe_s: ClassVar[float] = PROBE_CLOUD_S
    key_placeholder: ClassVar[str]

    @property
    def fields(self) -> tuple[Field, ...]:
        """A key; another address or a proxy only for those who have one."""
        return (
            Field(
                name="api_key",
                label="API key",
                required=True,
                is_secret=True,
                hint=f"Made at {KEY_PAGES[self.kind]}.",
                placeholder=self.key_placeholder,
            ),
            Field(
                name="url",
                label="Address",
                hint="Another one only for a gateway of your own.",
                placeholder=self.default_url,
                default=self.default_url,
            ),
            PROXY_FIELD,
        )

    async def detect(self, upstream: HttpClient) -> DetectedEngine | None:  # noqa: ARG002 — nothing is sent
        """Detect nothing: a cloud is never on this machine."""
        return None

    async def probe(self, upstream: HttpClient, backend: Backend, secret: str | None) -> Probe:
        """Read the models page by page; every failure becomes the fact."""
        path, headers = self.list_path, self.authorize(secret)
        models: dict[str, None] = {}
        details: dict[str, ModelDetail] = {}
        about: Mapping[str, str] | None = None
        latency_s: float | None = None
        for _ in range(PAGES_MAX):
            try:
                reply = await upstream.fetch(
                    "GET", path, headers=headers, timeout_s=self.probe_s, limit=BODY_LIMIT
                )
            except UpstreamError as error:
                return self.failed_probe(error, backend)
            about = limit_lines(self.limits_from_headers(reply.headers)) or about
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
        """Read one page of the list; None if it is no such page."""
        listing = self.read_list(body)
        return None if listing is None else Page(listing.models, {})


def is_cursor(text: str | None) -> bool:
    """Whether a provider's text for the next page may be sent back to it."""
    return text is not None and 0 < len(text) <= CURSOR_MAX and text.isprintable()


def open_key_warnings(backend: Backend, *, has_key: bool) -> tuple[str, ...]:
    """Say when a key goes over a network in the open."""
    try:
        address = parse_address(backend.url)
    except BadAddress:
        return ()
    if not has_key or address.scheme != "http" or _is_this_machine(address):
        return ()
    place = sanitize_line(address.host_port)
    return (f"The API key is sent to {place} unencrypted: anybody on the way can read it. Use https://.",)


def _is_this_machine(address: Address) -> bool:
    try:
        return bool(address.socket) or ip_address(address.host).is_loopback
    except ValueError:
        return address.host == "localhost" or address.host.endswith(".localhost")
