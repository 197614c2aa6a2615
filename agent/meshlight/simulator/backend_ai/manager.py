"""A real little Backend.AI cluster: a manager that checks signatures, and services behind an app proxy."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from email.utils import formatdate
from types import TracebackType
from typing import Any, Literal, Self

import msgspec
from msgspec.structs import replace

from meshlight.simulator.backend_ai.errors import problem, trouble
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
    "token-500",  # the app proxy is not reachable from the manager
    "new-version",  # no API version that anybody here speaks is good enough
    "redirect",  # everything is somewhere else
    "web-ui",  # this is the address of the web UI
]

ACCESS_KEY = "AKIADEMOCLUSTER00000"
SECRET_KEY = "demo-secret-key-of-nobody-0000000000000000"  # noqa: S105 — it opens nothing but the demo
WINDOW_S = 900
LIMIT = 10_000
LIFE_MAX_S = 86_400.0
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_PAGE = "<!doctype html><html><head><title>Backend.AI</title></head><body>demo web UI</body></html>"


class SimulatedCluster:
    """Plays manager and app proxy on loopback; `async with Cluster() as cluster:` is all it takes.

    `clock` is the cluster's time in Unix seconds. `legacy` answers as 23.09.10 does, else it is 26.9.6. `fault`
    switches one thing to go wrong; a key is revoked by taking it out of `keys`.
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
        self.life_s = life_s
        """The longest life of a token, whatever is asked for."""
        self.base = base
        """The path below which it is, as behind a proxy that it knows of."""
        self.keys = {ACCESS_KEY: SECRET_KEY}
        self.services = [ClusterService("llama-chat")] if services is None else list(services)
        self.fault: ClusterFault | None = None
        self.request_log = RequestLog(keep)
        self._used: Counter[tuple[str, int]] = Counter()
        self._gate = SignatureCheck(self.keys, self._now, legacy=legacy)
        self._door = Listener("127.0.0.1", self._serve, self.request_log)
        self._door.port = port

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, *, anywhere: bool = False) -> None:
        """Listen; where a wanted port is taken, it raises OSError, or with `anywhere` takes a free one."""
        try:
            await self._door.open(anywhere=anywhere)
            for service in self.services:
                service.clock = self._now
                await service.start(anywhere=anywhere)
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop manager and services; leaves no task and no socket."""
        await self._door.close()
        for service in self.services:
            await service.stop()

    async def add(self, service: ClusterService) -> None:
        """Start one more service."""
        service.clock = self._now
        await service.start()
        self.services.append(service)

    @property
    def url(self) -> str:
        """Where the manager is, without a trailing slash."""
        return f"http://{self._door.authority}{self.base}"

    @property
    def version(self) -> str:
        """The version of its API."""
        return NEWEST_LEGACY if self.legacy else NEWEST

    def calls(self, path: str) -> list[LoggedRequest]:
        """Return the requests to the manager whose path begins so."""
        return [seen for seen in self.request_log.entries if seen.path.startswith(path)]

    @property
    def tokens_issued(self) -> int:
        """How often a token was asked for."""
        return sum(seen.path.endswith("/token") for seen in self.request_log.entries)

    # how it answers

    def _now(self) -> float:
        return self.clock()

    async def _serve(self, seen: LoggedRequest, wire: Connection) -> None:
        is_signed = seen.header("authorization") is not None
        if self.fault == "hang" and is_signed:
            await asyncio.get_running_loop().create_future()
        reply = self._answer(seen)
        date = ("Date", formatdate(self.clock(), usegmt=True))
        reply = replace(reply, headers=(("Server", "Python/3 aiohttp/3"), date, *reply.headers))
        await deliver(reply, seen, wire, PROFILES["openai"])

    def _answer(self, seen: LoggedRequest) -> Reply:
        if self.fault == "redirect":
            return Reply(status=302, headers=(("location", "https://elsewhere.example/"),))
        if self.fault == "web-ui":
            return self._web_ui(seen)
        if not seen.path.startswith(f"{self.base}/"):
            return self._problem("url-not-found")
        if self._path(seen) == "/":
            return self._hello()
        reply = self._refuse(seen)
        if reply is not None:
            return reply
        key = (access_key(seen), int(self.clock() // WINDOW_S))
        self._used[key] += 1
        left = self.limit - self._used[key]
        if left < 0:
            return self._problem("rate-limit-exceeded")
        reply = self._signed(seen)
        if reply.status >= 400:
            return reply
        quota = {"Limit": self.limit, "Remaining": left, "Window": WINDOW_S}
        told = tuple((f"X-RateLimit-{what}", str(number)) for what, number in quota.items())
        return replace(reply, headers=(*reply.headers, *told))

    def _path(self, seen: LoggedRequest) -> str:
        return seen.path.removeprefix(self.base)

    def _refuse(self, seen: LoggedRequest) -> Reply | None:
        """Return the refusal of a request that may not do anything here."""
        if self.fault == "failing":
            return trouble()
        if self.fault == "new-version":
            return self._problem("invalid-api-params", "Unsupported API version.")
        reply = self._gate.refuse(seen)
        if reply is None and self.fault == "ip":
            return self._problem("auth-failed", "'127.0.0.1' is not allowed IP address")
        if reply is None and self.fault == "no-rights":
            return self._problem("auth-failed", "Unauthorized access")
        return reply

    def _signed(self, seen: LoggedRequest) -> Reply:
        parts = self._path(seen).strip("/").split("/")
        match seen.method, parts:
            case "GET", ["auth"]:
                return self._auth(seen)
            case "GET", ["services"]:
                if self.fault == "no-permission":
                    kind = "generic-forbidden" if self.legacy else "not-enough-permission"
                    return self._problem(kind)
                return json_reply([service.entry() for service in self.services])
            case "GET", ["services", service_id]:
                service = self._service(service_id)
                return json_reply(service.entry()) if service else self._problem("object-not-found")
            case "POST", ["services", service_id, "token"]:
                return self._token(service_id, seen)
        return self._problem("url-not-found")

    def _hello(self) -> Reply:
        return json_reply({"version": self.version, "manager": "23.09.10" if self.legacy else "26.9.6"})

    def _auth(self, seen: LoggedRequest) -> Reply:
        echo = seen.target.partition("?echo=")[2]
        if not echo:
            return self._problem("invalid-api-params")
        return json_reply({"authorized": "yes", "echo": echo})

    def _token(self, service_id: str, seen: LoggedRequest) -> Reply:
        service = self._service(service_id)
        if self.fault == "token-500":
            return trouble() if self.legacy else self._problem("internal-server-error")
        if service is None:
            return self._problem("object-not-found")
        life_s = _life_s(seen.body)
        if life_s is None:
            return self._problem("invalid-api-params", "valid_until or duration should be specified")
        return json_reply({"token": service.issuer.issue(self.clock(), min(life_s, self.life_s))})

    def _service(self, service_id: str) -> ClusterService | None:
        return next((service for service in self.services if service.id == service_id), None)

    def _problem(self, kind: str, msg: str = "") -> Reply:
        return problem(kind, msg, legacy=self.legacy)

    def _web_ui(self, seen: LoggedRequest) -> Reply:
        """Answer as the web server does: pages, and the API below `/func/` for those who have logged in there."""
        if seen.path == "/func/":
            return self._hello()
        if seen.path.startswith("/func/"):
            return self._problem("auth-failed", "Unauthorized access")
        return text_reply(_PAGE, 200, "text/html; charset=utf-8")


def _life_s(body: bytes) -> float | None:
    """Read the wished life of a token, as in `{"duration": "24h"}`."""
    try:
        wish: Any = msgspec.json.decode(body)["duration"]
        return float(int(wish[:-1]) * _UNITS[wish[-1]])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, IndexError):
        return None
