"""The manager of a Backend.AI cluster, as one account speaks to it.

Signing requests the way a Backend.AI manager checks them.

Carries httpx's requests over our own client: one set of rules for whatever leaves this machine.
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
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import RemoteProtocolError
from meshlight.domain.text import sanitize_line
from meshlight.http_client.headers import header_value
from meshlight.http_client.response import Reply


class ClusterAuth(httpx.Auth):
    """Signs method, target, date, host, media type and API version with a pair of keys.

    The body takes no part in it (the server hashes an empty string in its place), and nothing keeps a request from
    being sent twice: only TLS protects what is sent. `clock` gives the date that is sent, with its UTC offset; the
    key of the day is that of the date in its own offset. Source: `sign_request` of backend.ai-manager 23.09 to 26.9.
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
        kind = request.headers["content-type"].partition(";")[0].strip().lower()
        lines = (
            request.method.upper(),
            request.url.raw_path.decode("ascii"),
            date.isoformat(),
            f"host:{host}",
            f"content-type:{kind}",
            f"x-backendai-version:{self.version}",
            hashlib.new(self._digest).hexdigest(),
        )
        key = self._mac(self._mac(self._secret_key.encode(), date.strftime("%Y%m%d")), host)
        signature = self._mac(key, "\n".join(lines)).hex()
        return f"BackendAI signMethod=HMAC-{self._digest.upper()}, credential={self.access_key}:{signature}"

    def _mac(self, key: bytes, text: str) -> bytes:
        return hmac.digest(key, text.encode(), self._digest)


ASK_S = 5.0
"""How long the manager may take for one answer, connecting included."""
TOKEN_S = 10.0
"""For a token it asks its app proxy first, and writes to its database."""
LASTS = "24h"
"""How long a token shall be good."""
VERSION = "v9.20250722"
"""The newest API version that is known here; an older manager names its own."""
_MAJOR_MAX = 9
_VERSION = re.compile(r"v([0-9]{1,4})\.[0-9]{8}")


class ManagerVersion(Struct, frozen=True):
    """What a manager says of itself to anybody."""

    version: str
    """Of its API."""
    manager: str = ""
    """Of the software."""


class _Token(Struct, frozen=True):
    token: str


class Manager:
    """Asks the manager, signed where that is needed; every answer tells the time there.

    All methods raise the UpstreamErrors of the exchange; a status other than 200 is for the caller to judge.
    """

    def __init__(self, asks: HttpClient, clock: ClusterClock, access_key: str, secret_key: str) -> None:
        self.clock = clock
        self._url = asks.address.url
        self._auth = ClusterAuth(access_key, secret_key, VERSION, clock.now)
        self._client = httpx.AsyncClient(
            transport=UpstreamTransport(asks),
            headers={"user-agent": "meshlight"},
            trust_env=False,
            follow_redirects=False,
        )

    @property
    def version(self) -> str:
        """The API version that requests are signed for."""
        return self._auth.version

    async def greet(self, timeout_s: float = ASK_S) -> tuple[Reply, ManagerVersion | None]:
        """Ask who is there, unsigned; from then on its version of the API is spoken."""
        reply = await self._send("GET", "/", timeout_s=timeout_s)
        hello = read_version(reply)
        if hello is not None:
            self._auth.version = _spoken(hello.version)
        return reply, hello

    async def is_web_ui(self) -> bool:
        """Whether this is the address of a web UI: it passes the API on below `/func/`, to those logged in there."""
        return read_version(await self._send("GET", "/func/")) is not None

    async def check(self) -> Reply:
        """Ask whether the keys are good, which needs no permission beyond being somebody."""
        return await self._send("GET", "/auth?echo=meshlight", auth=self._auth)

    async def services(self) -> Reply:
        """Ask for the model services of the keys' owner."""
        return await self._send("GET", "/services", auth=self._auth)

    async def issue(self, service_id: str) -> Reply:
        """Ask for a token with which a service may be used for a day; each is a row in the cluster's database."""
        return await self._send(
            "POST",
            f"/services/{quote(service_id, safe='')}/token",
            {"duration": LASTS},
            auth=self._auth,
            timeout_s=TOKEN_S,
        )

    async def _send(
        self,
        method: str,
        path: str,
        value: object = None,
        *,
        auth: ClusterAuth | None = None,
        timeout_s: float = ASK_S,
    ) -> Reply:
        # Without a media type the server would assume one, and check the signature against that.
        kind = "text/plain" if value is None else "application/json"
        response = await self._client.request(
            method,
            self._url + path,
            content=None if value is None else msgspec.json.encode(value),
            headers={"content-type": kind, "accept": "application/json"},
            auth=auth,
            timeout=timeout_s,
        )
        reply: Reply = response.extensions["reply"]
        self.clock.see(header_value(reply.headers, b"date"))
        return reply


def read_version(reply: Reply) -> ManagerVersion | None:
    """Read the answer to `GET /`; None when it is no manager's."""
    hello = decode_or_none(reply.body, ManagerVersion) if reply.status == 200 else None
    if hello is None or not _VERSION.fullmatch(hello.version):
        return None
    return ManagerVersion(hello.version, sanitize_line(hello.manager, 40))


def read_token(body: bytes) -> str | None:
    """Read the answer to a request for a token; None when it holds none that could be sent."""
    found = decode_or_none(body, _Token)
    token = found.token if found is not None else ""
    fits = 0 < len(token) <= 16_384 and token.isascii() and token.isprintable() and " " not in token
    return token if fits else None


def _spoken(version: str) -> str:
    """Return the version to speak with a manager that has this one."""
    match = _VERSION.fullmatch(version)
    return version if match is not None and int(match[1]) <= _MAJOR_MAX else VERSION


LIMIT = 4 << 20
"""Bytes of an answer that are read: a list of some thousand services."""
_MADE_BELOW = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"accept-encoding"})


class UpstreamTransport(httpx.AsyncBaseTransport):
    """Sends by a backend's client, and reads no more than `LIMIT` bytes.

    That client refuses forbidden addresses and our own on every connect, trusts the backend's authorities, asks for
    identity encoding, looks at no proxy and follows nothing.

    The whole answer, as `Reply`, is in the response's extension `reply`. The read timeout is that of the whole
    exchange. Raises the UpstreamErrors.
    """

    def __init__(self, asks: HttpClient) -> None:
        self._asks = asks

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request and read its answer."""
        target = request.url.raw_path.decode("ascii")
        timeouts: dict[str, Any] = request.extensions["timeout"]
        base = self._asks.address.base
        if not target.startswith(base):  # a dot segment, or a lone %: it would not be sent as it was signed
            raise RemoteProtocolError(f"The path {base} of the URL can't be sent as it is written.")
        reply = await self._asks.fetch(
            request.method,
            target.removeprefix(base),
            headers=[pair for pair in request.headers.raw if pair[0].lower() not in _MADE_BELOW],
            body=await request.aread(),
            timeout_s=timeouts["read"],
            limit=LIMIT,
        )
        return httpx.Response(reply.status, request=request, extensions={"reply": reply})
