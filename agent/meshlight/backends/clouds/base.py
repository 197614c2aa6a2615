"""What the clouds have in common: a key, a list of models in pages, and rate limits in headers.

What is left of an account's limits is in the headers of every answer:
OpenAI: `x-ratelimit-remaining-requests: 498`, `x-ratelimit-reset-requests: 6m0s` (a duration).
Anthropic: `anthropic-ratelimit-requests-remaining: 998`, `anthropic-ratelimit-requests-reset: 2026-05-01T12:00:12Z`.
Only numbers, durations and dates are read; anything else in a header is left out, never shown.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import ClassVar

from msgspec import Struct

from meshlight.backends.base import PROXY_FIELD, BackendKind, DetectedEngine, Field, Group, HttpClient, Probe
from meshlight.backends.diagnostics import no_list_reason, status_fact
from meshlight.backends.model_list import BODY_LIMIT
from meshlight.domain.backend import Backend, ModelDetail, Ring
from meshlight.domain.cloud_keys import KEY_PAGES
from meshlight.domain.errors import BadAddress, UpstreamError
from meshlight.domain.health import Answered, Failed
from meshlight.domain.text import sanitize_line
from meshlight.http_client.address import Address, parse_address
from meshlight.http_client.headers import header_value, read_date
from meshlight.http_client.response import Headers

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
            about = self.about_from_headers(reply.headers) or about
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

    def about_from_headers(self, headers: Headers) -> Mapping[str, str] | None:
        """Return what is left of the account's limits."""
        return rate_limit_lines(headers)


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


LONGEST_S = 31 * 86_400.0
"""A longer limit is shown as a month."""
_NUMBER = re.compile(r"\d{1,15}")
_DURATION = re.compile(
    r"(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,8}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?"
)
"""As Go writes it (`1h2m3.5s`, `12ms`), and days."""
_SECONDS = re.compile(r"\d{1,8}(?:\.\d{1,9})?")
_UNITS_S = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)
_PARTS = ("remaining", "limit", "reset")
_WHAT = {
    "requests": "Requests left",
    "tokens": "Tokens left",
    "input-tokens": "Input tokens left",
    "output-tokens": "Output tokens left",
}


def rate_limit_lines(headers: Headers) -> Mapping[str, str] | None:
    """Return a line for each limit (`{"Requests left": "498 of 500, back in 12 s"}`); None if there is none."""
    limits = {
        name: value.decode("latin-1").strip()
        for raw, value in headers
        if b"-ratelimit-" in raw and len(value) <= 64 and (name := raw.decode("latin-1").lower())
    }
    if not limits:
        return None
    now = read_date(header_value(headers, b"date"))
    lines: dict[str, str] = {}
    for what, label in _WHAT.items():
        of_openai = [limits.get(f"x-ratelimit-{part}-{what}", "") for part in _PARTS]
        of_anthropic = [limits.get(f"anthropic-ratelimit-{what}-{part}", "") for part in _PARTS]
        left, limit, reset = of_openai if of_openai[0] else of_anthropic
        if line := _line(left, limit, _reset_s(reset, now)):
            lines[label] = line
    return lines or None


def _line(left: str, limit: str, reset_s: float | None) -> str:
    if not _NUMBER.fullmatch(left):
        return ""
    line = f"{int(left):,}"
    if _NUMBER.fullmatch(limit):
        line += f" of {int(limit):,}"
        if int(left) >= int(limit):
            return line
    return line if reset_s is None else f"{line}, back in {_duration(reset_s)}"


def _reset_s(text: str, now: datetime | None) -> float | None:
    """Return the seconds until a limit is reset; None if the text is neither a duration nor a date."""
    if not text:
        return None
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_S)
    if found := _DURATION.fullmatch(text):
        return min(
            sum(float(part or 0) * unit_s for part, unit_s in zip(found.groups(), _UNITS_S, strict=True)),
            LONGEST_S,
        )
    if now is None:
        return None
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return min(max((then - now).total_seconds(), 0.0), LONGEST_S)


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "less than 1 s"
    for unit_s, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s"
