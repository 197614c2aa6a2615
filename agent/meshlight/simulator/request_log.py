"""What an engine has seen: every request, how its answer ended, and a way to wait for that."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from meshlight.simulator.faults import FaultKind


class LoggedRequest(Struct, kw_only=True, eq=False):
    """One request as it came in. All instants are seconds of `time.monotonic()`."""

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """As they came, names in lower case."""
    body: bytes = b""
    at: float = 0.0
    """When the last byte of the request had come."""
    connection: int = 0
    """The serial number of the connection it came over; two requests with the same one shared it."""
    keep_alive: bool = True
    version: str = "1.1"
    fault: FaultKind | None = None
    """The fault it met, if one was switched on for it."""
    status: int | None = None
    first_byte_at: float | None = None
    """When the first byte of the answer was written."""
    sent: int = 0
    """Bytes of the answer (head included) that the connection has taken so far."""
    ended_at: float | None = None
    """When the engine had finished with it, in whatever way."""
    left_at: float | None = None
    """When the client went away before the answer's end; None if it did not."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """Return the first value of a header, or None."""
        wanted = name.lower().encode()
        return next((value.decode("latin-1") for key, value in self.headers if key == wanted), None)

    def json(self) -> Any:
        """Decode the body; raises msgspec.DecodeError."""
        return msgspec.json.decode(self.body)


class RequestLog:
    """The requests of one engine, the newest last; counts go on where `keep` lets old entries go."""

    def __init__(self, keep: int | None = None) -> None:
        self.entries: deque[LoggedRequest] = deque(maxlen=keep)
        self.total = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.connections = 0
        """Connections accepted so far."""
        self._seen: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        self._waiters: list[asyncio.Future[None]] = []

    def arrived(self, seen: LoggedRequest) -> None:
        """Note a request that has come in whole."""
        seen.at = time.monotonic()
        self.entries.append(seen)
        self.total += 1
        self._seen[seen.path] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.ring()

    def ended(self, seen: LoggedRequest, *, client_left: bool) -> None:
        """Note that a request is over."""
        seen.ended_at = time.monotonic()
        self.in_flight -= 1
        if client_left:
            seen.left_at = seen.ended_at
            self._left[seen.path] += 1
        self.ring()

    def count(self, path: str = "") -> int:
        """How many requests to paths that begin with `path` have come."""
        return _sum(self._seen, path)

    def count_left(self, path: str = "") -> int:
        """How many of them their client gave up before the answer's end."""
        return _sum(self._left, path)

    def ring(self) -> None:
        """Let those who wait look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, holds: Callable[[], bool], what: Callable[[], str], within_s: float) -> None:
        """Wait until `holds`; raises TimeoutError with the words of `what` after `within_s` seconds."""
        try:
            async with asyncio.timeout(within_s):
                while not holds():
                    waiter = asyncio.get_running_loop().create_future()
                    self._waiters.append(waiter)
                    await waiter
        except TimeoutError:
            raise TimeoutError(f"after {within_s:g} s: {what()}") from None


def _sum(counts: Counter[str], prefix: str) -> int:
    return sum(count for path, count in counts.items() if path.startswith(prefix))
