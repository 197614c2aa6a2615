import asyncio
import threading
from collections.abc import Callable
from functools import partial

import pytest

from meshlight.storage.secrets.keyring import Worker


class Door:
    """A call that waits until it is let through."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self) -> str:
        self.entered.set()
        self.opened.wait(20)
        return "through"


async def test_a_call_is_made_in_a_thread_and_its_result_comes_back() -> None:
    worker = Worker("meshlight-test", 5)
    assert await worker.run(lambda: threading.current_thread().name) == "meshlight-test"
    worker.close()


async def test_what_a_call_raises_is_raised() -> None:
    worker = Worker("meshlight-test", 5)
    with pytest.raises(ZeroDivisionError):
        await worker.run(lambda: 1 // 0)
    assert await worker.run(lambda: "still there") == "still there"
    worker.close()


async def test_calls_are_made_one_after_the_other_in_one_thread() -> None:
    worker = Worker("meshlight-test", 5)
    running: list[int] = []
    most: list[int] = []

    def call() -> int:
        running.append(1)
        most.append(len(running))
        running.pop()
        return threading.get_ident()

    threads = await asyncio.gather(*(worker.run(call) for _ in range(50)))
    assert set(most) == {1}
    assert len(set(threads)) == 1
    worker.close()


async def test_a_call_that_hangs_lets_everybody_go_in_time() -> None:
    worker, door = Worker("meshlight-test", 0.05), Door()
    calls: list[Callable[[], str]] = [door, *([lambda: "never made"] * 20)]
    before = set(threading.enumerate())
    answers = await asyncio.gather(*(worker.run(call) for call in calls), return_exceptions=True)
    assert [type(answer) for answer in answers] == [TimeoutError] * 21
    with pytest.raises(TimeoutError):
        await worker.run(lambda: "at once")
    assert len(set(threading.enumerate()) - before) == 1
    door.opened.set()
    worker.close()


async def test_once_the_hanging_call_is_through_the_next_one_is_made() -> None:
    worker, door = Worker("meshlight-test", 0.05), Door()
    late = asyncio.Event()
    with pytest.raises(TimeoutError):
        await worker.run(door, lambda _: late.set())
    door.opened.set()
    await asyncio.wait_for(late.wait(), 5)
    assert await worker.run(lambda: "next") == "next"
    worker.close()


async def test_a_result_that_comes_too_late_for_its_caller_is_not_lost() -> None:
    worker, door = Worker("meshlight-test", 0.05), Door()
    kept: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    with pytest.raises(TimeoutError):
        await worker.run(door, kept.set_result)
    door.opened.set()
    assert await asyncio.wait_for(kept, 5) == "through"
    worker.close()


async def test_a_call_that_nobody_waits_for_any_more_is_left_out() -> None:
    worker, door = Worker("meshlight-test", 5), Door()
    made: list[str] = []
    first = asyncio.create_task(worker.run(door))
    await asyncio.to_thread(door.entered.wait, 5)
    second = asyncio.create_task(worker.run(lambda: made.append("second")))
    third = asyncio.create_task(worker.run(lambda: made.append("third")))
    await asyncio.to_thread(door.entered.wait, 5)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    door.opened.set()
    assert await first == "through"
    await third
    assert made == ["third"]
    worker.close()


def test_a_loop_that_has_ended_does_not_trouble_the_thread() -> None:
    worker, door = Worker("meshlight-test", 0.05), Door()

    async def ask() -> None:
        with pytest.raises(TimeoutError):
            await worker.run(door, lambda _: None)

    asyncio.run(ask())
    [thread] = [each for each in threading.enumerate() if each.name == "meshlight-test"]
    worker.close()
    door.opened.set()
    thread.join(5)
    assert not thread.is_alive()


def test_closing_what_never_worked_does_nothing() -> None:
    Worker("meshlight-test", 5).close()


async def test_what_is_to_be_done_with_a_result_is_done_before_the_caller_goes_on() -> None:
    worker = Worker("meshlight-test", 5)
    told: list[int] = []
    for number in range(300):
        assert await worker.run(partial(int, number), told.append) == number
        assert told[-1] == number
    worker.close()
