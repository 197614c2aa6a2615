"""A wait that is cancelled from outside knows the cause; the end of the task itself is not mistaken for it."""

import asyncio

import pytest

from meshlight.gateway.inference.timeouts import Cancellation, Cause


async def wait(cancellation: Cancellation) -> Cause | None:
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        cause = cancellation.settle()
        if cause is None:
            raise
        return cause
    return None


async def test_the_first_cause_counts() -> None:
    cancellation = Cancellation()
    loop = asyncio.get_running_loop()
    loop.call_soon(cancellation.fire, "fell")
    loop.call_soon(cancellation.fire, "idle")
    assert await wait(cancellation) == "fell"


async def test_it_can_be_used_again() -> None:
    cancellation = Cancellation()
    loop = asyncio.get_running_loop()
    loop.call_soon(cancellation.fire, "fell")
    assert await wait(cancellation) == "fell"
    cancellation.rearm()
    loop.call_soon(cancellation.fire, "first-byte")
    assert await wait(cancellation) == "first-byte"


async def test_a_departure_that_came_second_ends_the_next_wait() -> None:
    cancellation = Cancellation()
    loop = asyncio.get_running_loop()
    loop.call_soon(cancellation.fire, "fell")
    loop.call_soon(cancellation.client_left)
    assert await wait(cancellation) == "fell"
    cancellation.rearm()
    assert await wait(cancellation) == "left"


async def test_the_end_of_the_task_goes_on() -> None:
    made: list[Cancellation] = []

    async def work() -> None:
        made.append(Cancellation())
        await wait(made[0])

    for also in (False, True):
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        if also:
            made[-1].fire("fell")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_time_limit_inside_the_wait_is_not_confused_with_it() -> None:
    cancellation = Cancellation()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(cancellation.client_left)
    assert await wait(cancellation) == "left"


def test_outside_of_a_task_there_is_nothing_to_interrupt() -> None:
    with pytest.raises(RuntimeError):
        Cancellation()
