"""A limit of time counts what the other side does, not how long our own process was kept waiting."""

import asyncio
import socket

import pytest

from event_loops import on_each_loop
from meshlight.http_client.fair_timeout import fair_timeout

LIMIT_S = 0.02


@on_each_loop
async def test_what_has_come_while_the_process_was_kept_waiting_is_read_first() -> None:
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        async with fair_timeout(LIMIT_S):
            reading = loop.create_task(loop.sock_recv(ours, 1))
            loop.call_soon(_keep_waiting, loop.time() + 3 * LIMIT_S, theirs)
            assert await reading == b"x"


@on_each_loop
async def test_what_does_not_come_ends_in_a_timeout() -> None:
    with pytest.raises(TimeoutError):
        async with fair_timeout(LIMIT_S):
            await asyncio.Event().wait()


@on_each_loop
async def test_a_share_of_a_time_that_is_used_up_is_over_at_once() -> None:
    async with asyncio.timeout(5) as guard:
        with pytest.raises(TimeoutError):
            async with fair_timeout(-30.0):
                await asyncio.Event().wait()
    assert not guard.expired()


@on_each_loop
async def test_an_error_inside_stays_what_it_is_and_the_limit_is_forgotten() -> None:
    with pytest.raises(ConnectionRefusedError):
        async with fair_timeout(LIMIT_S):
            raise ConnectionRefusedError
    await asyncio.wait_for(asyncio.to_thread(lambda: None), 5)


def _keep_waiting(until: float, theirs: socket.socket) -> None:
    """Hold the loop, as a machine does that has other things to do, and let the other side answer meanwhile."""
    theirs.send(b"x")
    while asyncio.get_running_loop().time() < until:
        pass
