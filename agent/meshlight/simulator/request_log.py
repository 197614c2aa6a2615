"""The log of an engine's requests: each request, how its answer ended, and waiting for either."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from meshlight.simulator.faults import FaultKind


class LoggedRequest(Struct, kw_only=True, eq=False):
    """One request and the progress of its answer. All instants are seconds of `time.monotonic()`."""

    method: str
    target: str
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """In their order, with names in lower case."""
    body: bytes = b""
    at: float = 0.0
    """When the last byte of the request was received."""
    connection: int = 0
    """The serial number of its connection; requests with the same number shared one."""
    keep_alive: bool = True
    version: str = "1.1"
    fault: FaultKind | None = None
    """The fault that was applied to it, if any."""
    status: int | None = None
    first_byte_at: float | None = None
    """When the first byte of the answer was written."""
    sent: int = 0
    """Bytes of the answer (with its head) that were written so far."""
    ended_at: float | None = None
    """When the engine was done with it, for whatever reason."""
    left_at: float | None = None
    """When the client disconnected before the end of the answer; None if it did not."""

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
    """The requests of one engine, newest last. The counts include entries that were dropped beyond `keep`."""

    def __init__(self, keep: int | None = None) -> None:
        self.entries: deque[LoggedRequest] = deque(maxlen=keep)
        self.total = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.connections = 0
        """Connections accepted so far."""
        self._received: Counter[str] = Counter()
        self._abandoned: Counter[str] = Counter()
        self._waiters: list[asyncio.Future[None]] = []

    def arrived(self, logged: LoggedRequest) -> None:
        """Log a request that was received completely."""
        logged.at = time.monotonic()
        self.entries.append(logged)
        self.total += 1
        self._received[logged.path] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        self.notify()

    def ended(self, logged: LoggedRequest, *, client_left: bool) -> None:
        """Log the end of a request."""
        logged.ended_at = time.monotonic()
        self.in_flight -= 1
        if client_left:
            logged.left_at = logged.ended_at
            self._abandoned[logged.path] += 1
        self.notify()

    def count(self, path: str = "") -> int:
        """Return the number of requests to paths that begin with `path`."""
        return _sum(self._received, path)

    def count_abandoned(self, path: str = "") -> int:
        """Return how many of them were abandoned by their client before the end of the answer."""
        return _sum(self._abandoned, path)

    def notify(self) -> None:
        """Wake all waiters, which check their conditions again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def until(self, holds: Callable[[], bool], what: Callable[[], str], within_s: float) -> None:
        """Wait until `holds()`; raises TimeoutError with the text of `what()` after `within_s` seconds."""
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
