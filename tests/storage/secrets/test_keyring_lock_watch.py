import asyncio

import pytest

from meshlight.storage.secrets.keyring import LockWatch, Worker

LOOK_S = 0.005


class Lock:
    """A lock that says these things in turn, and the last for ever."""

    def __init__(self, *says: bool | Exception | None) -> None:
        self._says = list(says)
        self.looked = 0

    def __call__(self) -> bool | None:
        self.looked += 1
        said = self._says.pop(0) if len(self._says) > 1 else self._says[0]
        if isinstance(said, Exception):
            raise said
        return said


async def watched(lock: Lock) -> asyncio.Event:
    unlocked = asyncio.Event()
    watch = LockWatch(Worker("lock", 1.0), lock, unlocked.set, LOOK_S)
    watch.begin()
    watch.begin()
    return unlocked


async def test_an_unlocking_is_told_once_and_then_nobody_looks_any_more() -> None:
    lock = Lock(True, True, False)
    unlocked = await watched(lock)
    await asyncio.wait_for(unlocked.wait(), 5)
    assert lock.looked == 3


async def test_a_bus_that_is_away_for_a_moment_does_not_end_the_wait() -> None:
    unlocked = await watched(Lock(OSError("gone"), False))
    await asyncio.wait_for(unlocked.wait(), 5)


async def test_a_keyring_that_can_not_say_is_looked_at_once() -> None:
    lock = Lock(None)
    unlocked = await watched(lock)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(unlocked.wait(), LOOK_S * 20)
    assert lock.looked == 1


async def test_the_wait_can_be_ended() -> None:
    lock = Lock(True)
    watch = LockWatch(Worker("lock", 1.0), lock, lambda: None, LOOK_S)
    watch.end()
    watch.begin()
    watch.end()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.Event().wait(), LOOK_S * 10)
    assert lock.looked == 0
