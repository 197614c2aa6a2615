"""Asking servers of the web: over the proxies of the environment, with checked certificates.

The token of the hub is shown to the hub alone: never to a host that it redirects to (another port is another host),
nor over plain HTTP, but for loopback.
"""

import asyncio
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from time import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from meshlight.domain.backend import Reason
from meshlight.domain.errors import ConnectError
from meshlight.domain.text import sanitize_line
from meshlight.http_client.connector import tls_context
from meshlight.local_models.downloads.problems import (
    CONNECT_S,
    DownloadFailed,
    network_problem,
    status_problem,
)
from meshlight.local_models.downloads.threads import in_thread

if TYPE_CHECKING:
    import httpx

REDIRECTS_MAX = 5
READ_S = 30.0
"""Seconds without a byte until a connection counts as dead."""
_LOOPBACK = ("all://localhost", "all://127.0.0.1", "all://[::1]")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class Answer:
    """A successful answer; its body is read while the `async with` block lasts."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name; of several with one name, joined."""
    linked_etag: str
    """The hub's `X-Linked-Etag`, which is the hash of the file that it redirected to; empty if it said none."""
    chunks: AsyncIterator[bytes]
    """The body as it arrives; raises TryLater when the connection breaks off."""

    async def read(self, limit: int) -> bytes:
        """Return the whole body; raises DownloadFailed when it has more than `limit` bytes."""
        body = bytearray()
        async for chunk in self.chunks:
            body += chunk
            if len(body) > limit:
                raise DownloadFailed(
                    Reason("too-large", f"The answer is larger than {limit:,} bytes.", "Try again later.")
                )
        return bytes(body)


class Web:
    """Sends requests; one for the hub, another for each package index with settings of its own.

    `origin` (`https://host`) is where `token` may go. `proxy` replaces the environment's.
    """

    def __init__(
        self,
        *,
        origin: str = "",
        token: Callable[[], str] = str,
        tls: Callable[[], ssl.SSLContext] = tls_context,
        proxy: str | None = None,
        wall: Callable[[], float] = time,
    ) -> None:
        self._origin = _origin_of(origin) if origin else None
        self._token = token
        self._tls = tls
        self._proxy = proxy
        self._wall = wall
        self._opening = asyncio.Lock()
        self._http: httpx.AsyncClient | None = None

    @asynccontextmanager
    async def get(
        self, url: str, *, what: str, headers: Mapping[str, str] | None = None
    ) -> AsyncGenerator[Answer]:
        """Get a URL, following redirects; `what` names it in errors.

        Raises DownloadFailed, TryLater; statuses from 400 on are among them, but for 416 (the range is at the end).
        """
        client = await self._open()
        import httpx  # noqa: PLC0415 - takes 20 MB, so only those who download pay for it

        place = _readable(url)
        linked_etag = ""
        may_show = True
        for hop in range(REDIRECTS_MAX + 1):
            may_show = may_show and _origin_of(str(place)) == self._origin
            sent = dict(headers or {}) | {"accept-encoding": "identity"}
            if may_show and _is_private(place) and (token := self._token()):
                sent["authorization"] = f"Bearer {token}"
            where = sanitize_line(place.netloc.decode("ascii", "replace").rpartition("@")[2])
            is_tls = place.scheme == "https"
            try:
                request = client.build_request("GET", place, headers=sent)
                response = await client.send(request, stream=True)
            except httpx.TransportError as error:
                raise network_problem(error, where, is_tls=is_tls) from error
            try:
                linked_etag = linked_etag or _unquoted(response.headers.get("x-linked-etag", ""))
                if response.status_code in _REDIRECTS:
                    place = _next(place, response.headers.get("location", ""), where)
                    continue
                if response.status_code >= 400 and response.status_code != 416:
                    raise status_problem(
                        response.status_code,
                        response.headers,
                        what=what,
                        where=where,
                        is_hub=hop == 0,
                        wall=self._wall(),
                    )
                yield Answer(
                    response.status_code,
                    response.headers,
                    linked_etag,
                    _chunks(response, where, is_tls=is_tls),
                )
                return
            finally:
                await response.aclose()
                client.cookies.clear()
        raise DownloadFailed(Reason("redirects", f"{what}: too many redirects.", "Try again later."))

    async def close(self) -> None:
        """Close all connections; a later request opens new ones."""
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    async def _open(self) -> "httpx.AsyncClient":
        """Return the client; the first time, its import and the authorities take a tenth of a second."""
        async with self._opening:
            if self._http is None:
                self._http = await in_thread(self._client)
            return self._http

    def _client(self) -> "httpx.AsyncClient":
        import httpx  # noqa: PLC0415 - see above

        try:
            return httpx.AsyncClient(
                verify=self._tls(),
                proxy=self._proxy,
                mounts=dict.fromkeys(_LOOPBACK),  # a proxy would take it for its own machine
                headers={"user-agent": "meshlight"},
                timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
                limits=httpx.Limits(max_connections=8, keepalive_expiry=15.0),
            )
        except (ValueError, ImportError, OSError, ConnectError) as error:  # its text may hold a password
            raise DownloadFailed(
                Reason(
                    "proxy",
                    "The proxy or the certificates that are set for this machine can't be used.",
                    "Correct HTTPS_PROXY (http://HOST:PORT) and SSL_CERT_FILE, and start Meshlight again.",
                )
            ) from error


async def _chunks(response: "httpx.Response", where: str, *, is_tls: bool) -> AsyncIterator[bytes]:
    import httpx  # noqa: PLC0415 - see above

    try:
        async for chunk in response.aiter_raw():
            yield chunk
    except httpx.TransportError as error:
        raise network_problem(error, where, is_tls=is_tls) from error


def _readable(url: str) -> "httpx.URL":
    import httpx  # noqa: PLC0415 - see above

    try:
        place = httpx.URL(url)
        if place.scheme in {"http", "https"} and place.host:
            return place
    except (httpx.InvalidURL, ValueError):
        pass
    raise DownloadFailed(
        Reason("address", f"{sanitize_line(url, 80)} is not an address of the web.", "Check HF_ENDPOINT.")
    )


def _next(place: "httpx.URL", location: str, where: str) -> "httpx.URL":
    """Return where a redirect leads; raises DownloadFailed for one that leads out of the web or of TLS."""
    import httpx  # noqa: PLC0415 - see above

    try:
        target = place.join(location)
    except (httpx.InvalidURL, ValueError):
        target = None
    if not location or target is None or target.scheme not in {"http", "https"} or not target.host:
        raise DownloadFailed(
            Reason("redirects", f"{where} redirects to something that is no address.", "Try again later.")
        )
    if place.scheme == "https" and target.scheme == "http":
        raise DownloadFailed(
            Reason(
                "redirects",
                f"{where} redirects to an address without TLS, where anybody could change the file.",
                "Set HF_ENDPOINT to another address of the hub.",
            )
        )
    return target


def _origin_of(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return (
        parts.scheme,
        (parts.hostname or "").lower(),
        parts.port or (443 if parts.scheme == "https" else 80),
    )


def _is_private(place: "httpx.URL") -> bool:
    """Whether nobody on the way can read what is sent there."""
    if place.scheme == "https":
        return True
    try:
        return ip_address(place.host).is_loopback
    except ValueError:
        return place.host == "localhost"


def _unquoted(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')
