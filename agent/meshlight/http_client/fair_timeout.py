"""A limit of time for what another machine does, which the lateness of our own process does not use up."""

import asyncio
from types import TracebackType


class fair_timeout:  # noqa: N801 - as `asyncio.timeout`
    """Raise TimeoutError in what runs inside when it takes longer than `limit_s` seconds, as `asyncio.timeout` does.

    On a busy machine this process may be kept waiting for longer than that: what has come from the other side is
    there then, only unread. So a limit that is found to be over too late waits as long again as it was late. One that
    is negative is over at once: what others have used up of a time that is shared is no lateness.
    """

    __slots__ = ("_due", "_limit_s", "_loop", "_timeout", "_timer")

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        """Begin to wait."""
        self._due = self._loop.time() + max(self._limit_s, 0.0)
        await self._timeout.__aenter__()
        self._timer = self._loop.call_at(self._due, self._judge)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the wait."""
        self._timer.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _judge(self) -> None:
        self._timer = self._loop.call_later(self._loop.time() - self._due, self._end)

    def _end(self) -> None:
        self._timeout.reschedule(self._loop.time())
