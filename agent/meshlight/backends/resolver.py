"""Host names to IP addresses, such that a dead name server or an absent machine holds up nobody else."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from threading import Thread
from time import monotonic

from msgspec import Struct

Lookup = Callable[[str], Sequence[str]]
KEEP_S = 30.0


class _Known(Struct, frozen=True):
    ips: tuple[str, ...]
    at: float


def system_lookup(host: str) -> list[str]:
    """Ask the system, which may take many seconds; the best address comes first."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class Resolver:
    """Looks names up, each once at a time, and remembers what it found for half a minute.

    The loop's own `getaddrinfo` shares a few threads among all callers (uvloop: two), and looking up the
    `.local` name of a colleague's sleeping machine occupies one for five seconds. So each lookup has a
    short-lived daemon thread of its own: no name waits for another, and none keeps the program from ending.
    """

    def __init__(self, lookup: Lookup = system_lookup, clock: Callable[[], float] = monotonic) -> None:
        self._lookup = lookup
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._pending: dict[str, asyncio.Future[tuple[str, ...] | Exception]] = {}

    async def resolve(self, host: str) -> tuple[str, ...]:
        """Return the addresses of a name, best first.

        Raises OSError (mostly `socket.gaierror`) or UnicodeError.
        """
        known = self._known.get(host)
        if known is not None and self._clock() - known.at < KEEP_S:
            return known.ips
        pending = self._pending.get(host)
        if pending is None:
            pending = self._start(host)
        # Shielded: who gives up waiting does not take the answer from the others.
        found = await asyncio.shield(pending)
        if isinstance(found, Exception):
            raise found
        return found

    def forget(self, host: str) -> None:
        """Look the name up afresh next time: nothing answered at its addresses."""
        self._known.pop(host, None)

    def _start(self, host: str) -> asyncio.Future[tuple[str, ...] | Exception]:
        loop = asyncio.get_running_loop()
        pending = self._pending[host] = loop.create_future()

        def settle(found: tuple[str, ...] | Exception) -> None:
            del self._pending[host]
            if isinstance(found, tuple):
                self._known[host] = _Known(found, self._clock())
            pending.set_result(found)

        def work() -> None:
            found: tuple[str, ...] | Exception
            try:
                found = tuple(self._lookup(host))
            except (OSError, UnicodeError) as error:
                found = error
            with suppress(RuntimeError):  # the loop may have ended meanwhile
                loop.call_soon_threadsafe(settle, found)

        Thread(target=work, name=f"resolve {host}", daemon=True).start()
        return pending
