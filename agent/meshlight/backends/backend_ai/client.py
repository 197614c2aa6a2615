"""Client of a Backend.AI manager: its few requests, signed for one account.

httpx builds the requests, since its auth flow sees the exact target and host that must be signed; they are sent by
the backend's own client, which refuses forbidden addresses and checks certificates.
"""

import hashlib
import hmac
import re
from collections.abc import Callable, Generator
from datetime import datetime
from typing import Any
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Struct

from meshlight.backends.backend_ai.limits import ClusterClock
from meshlight.backends.base import HttpClient
from meshlight.domain.errors import RemoteProtocolError
from meshlight.domain.text import sanitize_line
from meshlight.http_client.headers import header_value
from meshlight.http_client.reply import Reply

REQUEST_S = 5.0
"""How long the manager may take for one answer, connecting included."""
TOKEN_S = 10.0
"""The same for a token: the manager asks its app proxy first, and writes to its database."""
_DURATION = "24h"
"""The life that a token is requested for."""
VERSION = "v9.20250722"
"""The newest API version known here; an older manager names its own."""
_MAJOR_MAX = 9
_VERSION = re.compile(r"v([0-9]{1,4})\.[0-9]{8}")


class ManagerVersion(Struct, frozen=True):
    """What a manager answers to `GET /`, unsigned."""

    version: str
    """Of its API."""
    manager: str = ""
    """Of the software."""


class Manager:
    """Sends requests to the manager, signed where that is needed; sets `clock` by the Date of each answer.

    All methods raise UpstreamError; a status other than 200 is judged by the caller.
    """

    def __init__(self, client: HttpClient, clock: ClusterClock, access_key: str, secret_key: str) -> None:
        self.clock = clock
        self._url = client.address.url
        self._auth = ClusterAuth(access_key, secret_key, VERSION, clock.now)
        self._client = httpx.AsyncClient(
            transport=UpstreamTransport(client),
            headers={"user-agent": "meshlight"},
            trust_env=False,
            follow_redirects=False,
        )

    @property
    def version(self) -> str:
        """The API version that requests are signed for."""
        return self._auth.version

    async def greet(self, timeout_s: float = REQUEST_S) -> tuple[Reply, ManagerVersion | None]:
        """Request the version, unsigned and counted against no quota; later requests use that API version.

        The version is None when it is no manager that answers.
        """
        reply = await self._send("GET", "/", timeout_s=timeout_s)
        greeting = read_version(reply)
        if greeting is not None:
            self._auth.version = _api_version(greeting.version)
        return reply, greeting

    async def is_web_ui(self) -> bool:
        """Whether this is the address of a web UI: it passes the API on below `/func/` to those logged in there."""
        return read_version(await self._send("GET", "/func/")) is not None

    async def check_keys(self) -> Reply:
        """Request what any valid pair of keys may have."""
        return await self._send("GET", "/auth?echo=meshlight", auth=self._auth)

    async def services(self) -> Reply:
        """Request the model services of the keys' owner."""
        return await self._send("GET", "/services", auth=self._auth)

    async def issue_token(self, service_id: str) -> Reply:
        """Request a token for a service, valid for a day; each is a row in the cluster's database."""
        return await self._send(
            "POST",
            f"/services/{quote(service_id, safe='')}/token",
            {"duration": _DURATION},
            auth=self._auth,
            timeout_s=TOKEN_S,
        )

    async def _send(
        self,
        method: str,
        path: str,
        value: object = None,
        *,
        auth: "ClusterAuth | None" = None,
        timeout_s: float = REQUEST_S,
    ) -> Reply:
        # Without a media type the server would assume one, and check the signature against that.
        media_type = "text/plain" if value is None else "application/json"
        response = await self._client.request(
            method,
            self._url + path,
            content=None if value is None else msgspec.json.encode(value),
            headers={"content-type": media_type, "accept": "application/json"},
            auth=auth,
            timeout=timeout_s,
        )
        reply: Reply = response.extensions["reply"]
        self.clock.set_from(header_value(reply.headers, b"date"))
        return reply


class _Token(Struct, frozen=True):
    token: str


def read_version(reply: Reply) -> ManagerVersion | None:
    """Read the answer to `GET /`; None when it is no manager's."""
    try:
        greeting = msgspec.json.decode(reply.body, type=ManagerVersion) if reply.status == 200 else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if greeting is None or not _VERSION.fullmatch(greeting.version):
        return None
    return ManagerVersion(greeting.version, sanitize_line(greeting.manager, 40))


def read_token(body: bytes) -> str | None:
    """Read the answer to a request for a token; None when it holds none that fits into a header."""
    try:
        token = msgspec.json.decode(body, type=_Token).token
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    fits = 0 < len(token) <= 16_384 and token.isascii() and token.isprintable() and " " not in token
    return token if fits else None


def _api_version(version: str) -> str:
    """Return the API version to use with a manager that has this one."""
    match = _VERSION.fullmatch(version)
    return version if match is not None and int(match[1]) <= _MAJOR_MAX else VERSION


LIMIT = 4 << 20
"""Bytes of an answer that are read: enough for some thousand services."""
_SET_BY_CLIENT = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"connection", b"accept-encoding"}
)


class UpstreamTransport(httpx.AsyncBaseTransport):
    """Sends httpx's requests by a backend's client, and reads no more than `LIMIT` bytes of an answer.

    That client refuses forbidden addresses and our own on every connect, trusts the backend's authorities, asks for
    identity encoding, and uses no proxy and no redirect.

    The answer, as `Reply`, is in the response's extension `reply`. The read timeout is that of the whole exchange.
    Raises UpstreamError.
    """

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read its answer."""
        target = request.url.raw_path.decode("ascii")
        timeouts: dict[str, Any] = request.extensions["timeout"]
        base = self._client.address.base
        if not target.startswith(base):  # a dot segment or a lone %: httpx has rewritten it
            raise RemoteProtocolError(f"The path {base} of the URL can't be sent as it is written.")
        reply = await self._client.fetch(
            request.method,
            target.removeprefix(base),
            headers=[pair for pair in request.headers.raw if pair[0].lower() not in _SET_BY_CLIENT],
            body=await request.aread(),
            timeout_s=timeouts["read"],
            limit=LIMIT,
        )
        return httpx.Response(reply.status, request=request, extensions={"reply": reply})


class ClusterAuth(httpx.Auth):
    """Signs method, target, date, host, media type and API version with a pair of keys.

    The body is not part of it (the server hashes an empty string in its place), and a request can be replayed: only
    TLS protects what is sent. `clock` returns the date to send, with its UTC offset; the signing key is that of the
    date's day in its own offset. Source: `sign_request` of backend.ai-manager 23.09 to 26.9.
    """

    def __init__(
        self,
        access_key: str,
        secret_key: str,
        version: str,
        clock: Callable[[], datetime],
        digest: str = "sha256",
    ) -> None:
        self.access_key = access_key
        self.version = version
        self._secret_key = secret_key
        self._clock = clock
        self._digest = digest

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        """Add date, version and signature to a request that is otherwise ready to be sent."""
        date = self._clock()
        request.headers["date"] = date.isoformat()
        request.headers["x-backendai-version"] = self.version
        request.headers["authorization"] = self._header(request, date)
        yield request

    def _header(self, request: httpx.Request, date: datetime) -> str:
        host = request.headers["host"]
        media_type = request.headers["content-type"].partition(";")[0].strip().lower()
        lines = (
            request.method.upper(),
            request.url.raw_path.decode("ascii"),
            date.isoformat(),
            f"host:{host}",
            f"content-type:{media_type}",
            f"x-backendai-version:{self.version}",
            hashlib.new(self._digest).hexdigest(),
        )
        key = self._mac(self._mac(self._secret_key.encode(), date.strftime("%Y%m%d")), host)
        signature = self._mac(key, "\n".join(lines)).hex()
        return f"BackendAI signMethod=HMAC-{self._digest.upper()}, credential={self.access_key}:{signature}"

    def _mac(self, key: bytes, text: str) -> bytes:
        return hmac.digest(key, text.encode(), self._digest)
