import asyncio

import pytest

from meshlight.storage.secrets.keyring import LockWatch, Worker

POLL_S = 0.005


class Lock:
    """A lock with these states one after the other; the last one stays."""

    def __init__(self, *states: bool | Exception | None) -> None:
        self._states = list(states)
        self.polls = 0

    def __call__(self) -> bool | None:
        self.polls += 1
        state = self._states.pop(0) if len(self._states) > 1 else self._states[0]
        if isinstance(state, Exception):
            raise state
        return state


async def watched(lock: Lock) -> asyncio.Event:
    unlocked = asyncio.Event()
    watch = LockWatch(Worker("lock", 1.0), lock, unlocked.set, POLL_S)
    watch.start()
    watch.start()
    return unlocked


async def test_an_unlocking_is_told_once_and_then_nobody_looks_any_more() -> None:
    lock = Lock(True, True, False)
    unlocked = await watched(lock)
    await asyncio.wait_for(unlocked.wait(), 5)
    assert lock.polls == 3


async def test_a_bus_that_is_away_for_a_moment_does_not_end_the_wait() -> None:
    unlocked = await watched(Lock(OSError("gone"), False))
    await asyncio.wait_for(unlocked.wait(), 5)


async def test_a_keyring_that_can_not_say_is_looked_at_once() -> None:
    lock = Lock(None)
    unlocked = await watched(lock)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(unlocked.wait(), POLL_S * 20)
    assert lock.polls == 1


async def test_the_wait_can_be_ended() -> None:
    lock = Lock(True)
    watch = LockWatch(Worker("lock", 1.0), lock, lambda: None, POLL_S)
    watch.stop()
    watch.start()
    watch.stop()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), POLL_S * 10)
    assert lock.polls == 0
