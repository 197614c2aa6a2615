"""A limit of time for what another machine does, which the lateness of our own process does not use up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def fair_timeout(limit_s: float) -> AsyncIterator[None]:
    """Raise TimeoutError in what runs inside when it takes longer than `limit_s` seconds, as `asyncio.timeout` does.

    On a busy machine this process may be kept waiting for longer than that: what has come from the other side is
    there then, only unread. So a limit that is found to be over too late waits as long again as it was late. One that
    is negative is over at once: what others have used up of a time that is shared is no lateness.
    """
    loop = asyncio.get_running_loop()
    due = loop.time() + max(limit_s, 0.0)
    timer: asyncio.TimerHandle | None = None

    def judge() -> None:
        nonlocal timer
        timer = loop.call_later(loop.time() - due, lambda: timeout.reschedule(loop.time()))

    async with asyncio.timeout(None) as timeout:
        timer = loop.call_at(due, judge)
        try:
            yield
        finally:
            timer.cancel()
