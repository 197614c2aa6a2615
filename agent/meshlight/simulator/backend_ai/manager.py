"""A simulated Backend.AI cluster: a manager that checks signatures, and model services behind an app proxy."""

import asyncio
import time
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from email.utils import formatdate
from types import TracebackType
from typing import Any, Literal, Self

import msgspec
from msgspec.structs import replace

from meshlight.simulator.backend_ai.errors import bad_gateway, database_down, problem
from meshlight.simulator.backend_ai.service import ClusterService
from meshlight.simulator.backend_ai.signature_check import NEWEST, NEWEST_LEGACY, SignatureCheck, access_key
from meshlight.simulator.http.connection import Connection
from meshlight.simulator.http.listener import Listener
from meshlight.simulator.http.reply import Reply, json_reply, text_reply
from meshlight.simulator.http.writer import deliver
from meshlight.simulator.profiles import PROFILES
from meshlight.simulator.request_log import LoggedRequest, RequestLog

ClusterFault = Literal[
    "ip",  # 401: the client's IP address is not allowed
    "no-rights",  # 401: a key that may not sign in
    "no-permission",  # 403 for the list of services, though the keys are good
    "failing",  # signed requests: 500, no JSON (the database is down)
    "hang",  # signed requests: no answer (Redis is frozen)
    "restarting",  # everything: 502, the page of the proxy in front of it
    "token-500",  # the app proxy is not reachable from the manager
    "new-version",  # it supports no API version that a client here speaks
    "redirect",  # everything is somewhere else
    "web-ui",  # this is the address of the web UI
]

ACCESS_KEY = "AKIADEMOCLUSTER00000"
SECRET_KEY = "demo-secret-key-of-nobody-0000000000000000"  # noqa: S105 — it opens nothing but the demo
WINDOW_S = 900
LIMIT = 10_000
UNSIGNED_LIMIT = 1_000
"""Answers to unsigned requests name this limit, and none of it is ever used up."""
LIFE_MAX_S = 86_400.0
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PAGE = "<!doctype html><html><head><title>Backend.AI</title></head><body>demo web UI</body></html>"


class SimulatedCluster:
    """Plays manager and app proxy on loopback; use it as `async with SimulatedCluster() as cluster:`.

    `clock` is the cluster's time in Unix seconds. `legacy` answers as 23.09.10 does, otherwise as 26.9.6. `fault`
    makes one thing go wrong; a key is revoked by removing it from `keys`.
    """

    def __init__(  # noqa: PLR0913  # a caller names the few it needs
        self,
        services: Sequence[ClusterService] | None = None,
        name: str = "demo cluster",
        port: int = 0,
        *,
        clock: Callable[[], float] = time.time,
        legacy: bool = False,
        limit: int = LIMIT,
        life_s: float = LIFE_MAX_S,
        base: str = "",
        keep: int | None = None,
    ) -> None:
        self.name = name
        self.clock = clock
        self.legacy = legacy
        self.limit = limit
        """Signed requests that a key may send in any 900 s."""
        self.limited_headers: tuple[tuple[str, str], ...] = ()
        """What a 429 carries; a manager's own says nothing of when to ask again, a proxy in front of it may."""
        self.life_s = life_s
        """The longest life of a token, whatever is requested."""
        self.base = base
        """The path below which the manager is, as behind a proxy that it knows of."""
        self.keys = {ACCESS_KEY: SECRET_KEY}
        self.services = [ClusterService("llama-chat")] if services is None else list(services)
        self.fault: ClusterFault | None = None
        self.request_log = RequestLog(keep)
        self.token_rows: list[tuple[str, str]] = []
        """Service id and token of every token issued: each is a row in a real manager's database."""
        self._signed_at: defaultdict[str, deque[float]] = defaultdict(deque)
        self._signature_check = SignatureCheck(self.keys, self._now, legacy=legacy)
        self._listener = Listener("127.0.0.1", self._serve, self.request_log)
        self._listener.port = port

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, *, anywhere: bool = False) -> None:
        """Listen; raises OSError where a requested port is in use, or with `anywhere` uses a free one."""
        try:
            await self._listener.open(anywhere=anywhere)
            for service in self.services:
                service.clock = self._now
                await service.start(anywhere=anywhere)
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop manager and services; leaves no task and no socket."""
        await self.stop_manager()
        for service in self.services:
            await service.stop()

    async def stop_manager(self) -> None:
        """Stop the manager alone: its services go on."""
        await self._listener.close()

    async def add(self, service: ClusterService) -> None:
        """Start one more service."""
        service.clock = self._now
        await service.start()
        self.services.append(service)

    @property
    def url(self) -> str:
        """The manager's address, without a trailing slash."""
        return f"http://{self._listener.authority}{self.base}"

    @property
    def version(self) -> str:
        """The version of its API."""
        return NEWEST_LEGACY if self.legacy else NEWEST

    def calls(self, path: str) -> list[LoggedRequest]:
        """Return the requests to the manager whose path begins with `path`."""
        return [request for request in self.request_log.entries if request.path.startswith(path)]

    @property
    def token_requests(self) -> int:
        """How often a token was requested."""
        return sum(request.path.endswith("/token") for request in self.request_log.entries)

    def _now(self) -> float:
        return self.clock()

    async def _serve(self, request: LoggedRequest, connection: Connection) -> None:
        is_signed = request.header("authorization") is not None
        if self.fault == "hang" and is_signed:
            await asyncio.get_running_loop().create_future()
        if self.fault == "restarting":
            reply, server = bad_gateway(), "nginx"
        else:
            reply, server = self._answer(request), "Python/3 aiohttp/3"
        date = formatdate(self.clock(), usegmt=True)
        reply = replace(reply, headers=(("Server", server), ("Date", date), *reply.headers))
        await deliver(reply, request, connection, PROFILES["openai"])

    def _answer(self, request: LoggedRequest) -> Reply:
        if self.fault == "redirect":
            return Reply(status=302, headers=(("location", "https://elsewhere.example/"),))
        if self.fault == "web-ui":
            return self._web_ui(request)
        if not request.path.startswith(f"{self.base}/"):
            return self._problem("url-not-found")
        if self._path(request) == "/":
            return _with_quota(self._greeting(), UNSIGNED_LIMIT, UNSIGNED_LIMIT)
        if request.header("authorization") is None and not self._is_known(request):
            return self._problem("url-not-found")  # without a signature only known paths ask for one
        reply = self._refuse(request)
        if reply is not None:
            return reply
        used = self._count(access_key(request))
        if used > self.limit:
            return replace(self._problem("rate-limit-exceeded"), headers=self.limited_headers)
        reply = self._signed(request)
        return reply if reply.status >= 400 else _with_quota(reply, self.limit, self.limit - used)

    def _count(self, key: str) -> int:
        """Count a signed request and return how many the last 900 s had; refused ones count too."""
        now, signed_at = self.clock(), self._signed_at[key]
        signed_at.append(now)
        while signed_at[0] <= now - WINDOW_S:
            signed_at.popleft()
        return len(signed_at)

    def _path(self, request: LoggedRequest) -> str:
        return request.path.removeprefix(self.base)

    def _is_known(self, request: LoggedRequest) -> bool:
        return self._path(request).strip("/").partition("/")[0] in {"auth", "services"}

    def _refuse(self, request: LoggedRequest) -> Reply | None:
        """Return the refusal of a request that may not do anything here."""
        if self.fault == "failing":
            return database_down()
        if self.fault == "new-version":
            return self._problem("invalid-api-params", "Unsupported API version.")
        reply = self._signature_check.refuse(request)
        if reply is None and self.fault == "ip":
            return self._problem("auth-failed", "'127.0.0.1' is not allowed IP address")
        if reply is None and self.fault == "no-rights":
            return self._problem("auth-failed", "Unauthorized access")
        return reply

    def _signed(self, request: LoggedRequest) -> Reply:
        parts = self._path(request).strip("/").split("/")
        match request.method, parts:
            case "GET", ["auth"]:
                return self._auth(request)
            case "GET", ["services"]:
                if self.fault == "no-permission":
                    return self._forbidden()
                own = [service for service in self.services if service.is_own]
                return json_reply([service.entry(legacy=self.legacy) for service in own])
            case "GET", ["services", service_id]:
                service = self._service(service_id)
                if isinstance(service, Reply):
                    return service
                return json_reply(service.entry(legacy=self.legacy))
            case "POST", ["services", service_id, "token"]:
                return self._token(service_id, request)
            case _, ["auth"] | ["services"] | ["services", _] | ["services", _, "token"]:
                return self._problem("method-not-allowed")
        return self._problem("url-not-found")

    def _greeting(self) -> Reply:
        return json_reply({"version": self.version, "manager": "23.09.10" if self.legacy else "26.9.6"})

    def _auth(self, request: LoggedRequest) -> Reply:
        echo = request.target.partition("?echo=")[2]
        if not echo:
            return self._problem("invalid-api-params")
        return json_reply({"authorized": "yes", "echo": echo})

    def _token(self, service_id: str, request: LoggedRequest) -> Reply:
        service = self._service(service_id)
        if self.fault == "token-500":
            return database_down() if self.legacy else self._problem("internal-server-error")
        if isinstance(service, Reply):
            return service
        life_s = _life_s(request.body, self.clock())
        if life_s is None:
            return self._problem("invalid-api-params", "valid_until or duration should be specified")
        token = service.issuer.issue(self.clock(), min(life_s, self.life_s))
        self.token_rows.append((service.id, token))
        return json_reply({"token": token})

    def _service(self, service_id: str) -> ClusterService | Reply:
        """Return a service of the key's user, or the refusal: 403 for another user's, 404 for an unknown id."""
        service = next((service for service in self.services if service.id == service_id), None)
        if service is None:
            return self._problem("object-not-found")
        return service if service.is_own else self._forbidden()

    def _forbidden(self) -> Reply:
        return self._problem("generic-forbidden" if self.legacy else "not-enough-permission")

    def _problem(self, kind: str, msg: str = "") -> Reply:
        return problem(kind, msg, legacy=self.legacy)

    def _web_ui(self, request: LoggedRequest) -> Reply:
        """Answer as the web server does: pages, and the API below `/func/` for those who have logged in there."""
        if request.path == "/func/":
            return self._greeting()
        if request.path.startswith("/func/"):
            return self._problem("auth-failed", "Unauthorized access")
        return text_reply(_PAGE, 200, "text/html; charset=utf-8")


def _with_quota(reply: Reply, limit: int, left: int) -> Reply:
    numbers = {"Limit": limit, "Remaining": left, "Window": WINDOW_S}
    headers = tuple((f"X-RateLimit-{name}", str(number)) for name, number in numbers.items())
    return replace(reply, headers=(*reply.headers, *headers))


def _life_s(body: bytes, now: float) -> float | None:
    """Read the requested life of a token: `{"duration": "24h"}` or `{"valid_until": <Unix seconds>}`."""
    try:
        fields: Any = msgspec.json.decode(body)
        if "valid_until" in fields:
            return float(fields["valid_until"]) - now
        return float(int(fields["duration"][:-1]) * _UNITS[fields["duration"][-1]])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, IndexError):
        return None
