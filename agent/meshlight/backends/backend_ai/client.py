"""The manager of a Backend.AI cluster, as one account speaks to it."""

import re
from urllib.parse import quote

import httpx
import msgspec
from msgspec import Struct

from meshlight.backends.cluster_auth import ClusterAuth
from meshlight.backends.cluster_clock import ClusterClock
from meshlight.backends.cluster_transport import AsksTransport
from meshlight.backends.kind import Asks
from meshlight.backends.quote import clean
from meshlight.backends.response import Reply
from meshlight.backends.retry_after import header

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


class Hello(Struct, frozen=True):
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

    def __init__(self, asks: Asks, clock: ClusterClock, access_key: str, secret_key: str) -> None:
        self.clock = clock
        self._url = asks.address.url
        self._auth = ClusterAuth(access_key, secret_key, VERSION, clock.now)
        self._client = httpx.AsyncClient(
            transport=AsksTransport(asks),
            headers={"user-agent": "meshlight"},
            trust_env=False,
            follow_redirects=False,
        )

    @property
    def version(self) -> str:
        """The API version that requests are signed for."""
        return self._auth.version

    async def greet(self, timeout_s: float = ASK_S) -> tuple[Reply, Hello | None]:
        """Ask who is there, unsigned; from then on its version of the API is spoken."""
        reply = await self._send("GET", "/", timeout_s=timeout_s)
        hello = read_hello(reply)
        if hello is not None:
            self._auth.version = _spoken(hello.version)
        return reply, hello

    async def is_web_ui(self) -> bool:
        """Whether this is the address of a web UI: it passes the API on below `/func/`, to those logged in there."""
        return read_hello(await self._send("GET", "/func/")) is not None

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
        self.clock.see(header(reply.headers, b"date"))
        return reply


def read_hello(reply: Reply) -> Hello | None:
    """Read the answer to `GET /`; None when it is no manager's."""
    try:
        hello = msgspec.json.decode(reply.body, type=Hello) if reply.status == 200 else None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if hello is None or not _VERSION.fullmatch(hello.version):
        return None
    return Hello(hello.version, clean(hello.manager, 40))


def read_token(body: bytes) -> str | None:
    """Read the answer to a request for a token; None when it holds none that could be sent."""
    try:
        token = msgspec.json.decode(body, type=_Token).token
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    fits = 0 < len(token) <= 16_384 and token.isascii() and token.isprintable() and " " not in token
    return token if fits else None


def _spoken(version: str) -> str:
    """Return the version to speak with a manager that has this one."""
    match = _VERSION.fullmatch(version)
    return version if match is not None and int(match[1]) <= _MAJOR_MAX else VERSION
