"""Detecting the engines that run on this machine, by their answers on the usual ports."""

import asyncio
import errno
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Literal

from meshlight.backends.base import BackendKind, DetectedEngine, HttpClient
from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import Kind
from meshlight.domain.errors import (
    ConnectError,
    ReadError,
    ReadTimeout,
    RemoteProtocolError,
    ResponseTooLarge,
    UpstreamError,
)
from meshlight.http_client.address import Address
from meshlight.http_client.client import Upstream
from meshlight.http_client.reply import Headers, Reply

PORT_LIMIT_S = 1.5
UNKNOWN_PAUSE_S = 60.0
SILENT_PAUSE_S = 10.0
"""A busy engine may answer no new connection; one scan in three is no burden to whatever it is."""

COMMON_PORTS = (1337, 4891, 5000, 5001, 13305, 30000)
"""Where servers of OpenAI's API that are no kind of their own listen by default: Jan, GPT4All,
text-generation-webui, KoboldCpp, Lemonade, SGLang. LocalAI's 8080 is llama.cpp's as well."""
_GENERIC: Kind = "openai-compatible"

Outcome = DetectedEngine | Literal["none", "unknown", "silent", "starting"]

_PAUSES: dict[Outcome, float] = {"unknown": UNKNOWN_PAUSE_S, "silent": SILENT_PAUSE_S}


def usual_ports(kinds: Mapping[Kind, BackendKind] = KINDS) -> dict[int, tuple[Kind, ...]]:
    """Return the ports that are scanned for engines, each with the kinds that usually listen there."""
    ports: dict[int, tuple[Kind, ...]] = {}
    for kind in kinds.values():
        for port in kind.usual_ports:
            ports[port] = (*ports.get(port, ()), kind.kind)
    return ports | {port: () for port in COMMON_PORTS if port not in ports}


class Detector:
    """Scans the usual ports, all at the same time, and leaves other servers alone.

    Each port takes at most 1.5 s and delays no other. A server that answers but is no engine (somebody's development
    server) gets two or three GETs, and is tried again after a minute or when the user requests a scan.
    """

    def __init__(
        self,
        upstream_for: Callable[[Address], Upstream],
        ports: Mapping[int, Sequence[Kind]] | None = None,
        *,
        kinds: Mapping[Kind, BackendKind] = KINDS,
        clock: Callable[[], float] = time.monotonic,
        limit_s: float = PORT_LIMIT_S,
    ) -> None:
        self._upstream_for = upstream_for
        self._ports = usual_ports(kinds) if ports is None else ports
        self._kinds = kinds
        self._clock = clock
        self._limit_s = limit_s
        self._due: dict[int, float] = {}
        """When the unknown server on a port may be tried again (monotonic seconds)."""

    async def scan(self, known: Collection[int] = (), *, force: bool = False) -> list[DetectedEngine]:
        """Scan every port but the `known` ones once; `force` includes those of unknown servers."""
        now = self._clock()
        due = [
            port for port in self._ports if port not in known and (force or now >= self._due.get(port, now))
        ]
        outcomes = await asyncio.gather(*(self._scan_port(port) for port in due))
        for port, outcome in zip(due, outcomes, strict=True):
            if outcome in _PAUSES:
                self._due[port] = now + _PAUSES[outcome]
            else:
                self._due.pop(port, None)
        return [outcome for outcome in outcomes if isinstance(outcome, DetectedEngine)]

    async def _scan_port(self, port: int) -> Outcome:
        """Scan one port; at `::1` only if nothing listens at 127.0.0.1."""
        try:
            async with asyncio.timeout(self._limit_s):
                for host in filter(lambda host: may_listen(host, port), ("127.0.0.1", "::1")):
                    outcome = await self._identify(Address("http", host, port, ""), self._order(port))
                    if outcome != "none":
                        return outcome
        except TimeoutError:
            return "silent"
        return "none"

    def _order(self, port: int) -> list[BackendKind]:
        """Return all kinds: first those that usually listen there, last the one that all the others are as well."""
        usual = self._ports[port]
        order = sorted(self._kinds, key=lambda kind: (kind == _GENERIC, kind not in usual))
        return [self._kinds[kind] for kind in order]

    async def _identify(self, address: Address, kinds: Sequence[BackendKind]) -> Outcome:
        upstream = self._upstream_for(address)
        cached = _CachedAnswers(upstream, address)
        try:
            for kind in kinds:
                try:
                    found = await kind.detect(cached)
                except (RemoteProtocolError, ResponseTooLarge):
                    continue  # no answer to this kind's request, but another kind may send a better one
                if found is not None:
                    return found
        except ConnectError:
            return "none"
        except ReadError:
            # The port of a container closes every connection while the engine inside is not up yet.
            return "unknown" if cached.has_answers else "starting"
        except ReadTimeout:
            return "unknown" if cached.has_answers else "silent"
        finally:
            upstream.close()
        return "unknown"


_NOBODY = frozenset({errno.ECONNREFUSED, errno.EADDRNOTAVAIL, errno.ENETUNREACH})


def may_listen(host: str, port: int) -> bool:
    """Whether something may listen at a loopback address; False only if the system refuses a connection at once.

    That takes microseconds, a whole HTTP client for each port takes most of what an idle service uses.
    """
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as sock:
            sock.setblocking(False)
            begun = sock.connect_ex(
                (host, port)
            )  # Linux has the refusal when this returns, but does not return it
            return begun not in _NOBODY and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) not in _NOBODY
    except OSError:  # no file left, or no such addresses here: the client says which
        return True


class _CachedAnswers:
    """Sends each request once, for however many kinds it is."""

    def __init__(self, upstream: HttpClient, address: Address) -> None:
        self._upstream = upstream
        self.address = address
        self._answers: dict[str, Reply | UpstreamError] = {}

    @property
    def has_answers(self) -> bool:
        """Whether it answered at all."""
        return any(isinstance(answer, Reply) for answer in self._answers.values())

    async def fetch(
        self,
        method: str,
        path: str,
        *,
        headers: Headers = (),
        body: bytes = b"",
        timeout_s: float = 2.0,
        limit: int = 1 << 20,
    ) -> Reply:
        """Send the request, or return its earlier answer."""
        answer = self._answers.get(path)
        if answer is None:
            try:
                answer = await self._upstream.fetch(
                    method, path, headers=headers, body=body, timeout_s=timeout_s, limit=limit
                )
            except UpstreamError as error:
                answer = error
            self._answers[path] = answer
        if isinstance(answer, UpstreamError):
            raise answer
        return answer
