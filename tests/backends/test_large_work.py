"""Work on a large body is done in a thread, and never by two at once."""

import asyncio
import threading

import pytest

from meshlight.backends.large_work import LARGE, in_thread_if_large


async def test_small_work_is_done_at_once_and_large_work_in_a_thread() -> None:
    here = threading.get_ident()
    assert await in_thread_if_large(LARGE, threading.get_ident) == here
    assert await in_thread_if_large(LARGE + 1, threading.get_ident) != here


@pytest.mark.parametrize("size", [0, LARGE + 1])
async def test_what_the_work_raises_comes_back(size: int) -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        await in_thread_if_large(size, int, "x")


async def test_who_is_cancelled_waits_for_the_work_that_runs() -> None:
    begun, goes_on, done = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        goes_on.wait()
        done.set()
        raise ValueError

    task = asyncio.create_task(in_thread_if_large(LARGE + 1, work))
    await asyncio.to_thread(begun.wait)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    goes_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()
