import asyncio
from collections.abc import Callable
from typing import cast

from http_client.fake_connection import TinCan
from meshlight.http_client.client import (
    CLOSED_AT_ONCE,
    IDLE_USUAL,
    SLOW_FIRST_RESPONSE_S,
    ConnectionPool,
)
from servers.byte_server import OK

NOW = 1000.0


def idle_connection(pool: ConnectionPool, at: float, loop: "OneTimer | None" = None) -> TinCan:
    """Return a connection that has served once and has rested in `pool` since `at`."""
    can = TinCan()
    can.ask()
    can.hear(OK)
    if loop is not None:
        can.connection.loop = cast("asyncio.AbstractEventLoop", loop)
    can.connection.idle_since = at
    pool.opened(can.connection)
    pool.released(can.connection)
    return can


def test_an_empty_pool_has_nothing_to_give() -> None:
    pool = ConnectionPool(2.0)
    assert pool.acquire(NOW) is None
    assert (pool.open, pool.idle) == (0, 0)


def test_the_connection_that_rested_least_is_used_first() -> None:
    pool = ConnectionPool(2.0)
    old, new = idle_connection(pool, NOW - 1), idle_connection(pool, NOW)
    assert pool.acquire(NOW) is new.connection
    assert pool.acquire(NOW) is old.connection
    assert pool.acquire(NOW) is None
    assert pool.open == 2


def test_connections_that_rested_too_long_are_closed_when_one_is_wanted() -> None:
    pool = ConnectionPool(2.0)
    cans = [idle_connection(pool, NOW - 3), idle_connection(pool, NOW - 2.5)]
    assert pool.acquire(NOW) is None
    assert all(can.transport.is_closed for can in cans)
    assert pool.idle == 0


def test_a_connection_that_rested_just_the_time_is_still_good() -> None:
    pool = ConnectionPool(2.0)
    can = idle_connection(pool, NOW - 2.0)
    assert pool.acquire(NOW) is can.connection


def test_a_connection_that_the_server_closed_is_never_given_out() -> None:
    pool = ConnectionPool(2.0)
    good, closed = idle_connection(pool, NOW), idle_connection(pool, NOW)
    closed.connection.eof_received()
    assert pool.acquire(NOW) is good.connection


def test_a_connection_that_is_gone_is_forgotten() -> None:
    pool = ConnectionPool(2.0)
    can = idle_connection(pool, NOW)
    can.hang_up()
    pool.closed(can.connection)
    assert (pool.open, pool.idle) == (0, 0)


def test_after_a_burst_the_surplus_is_closed_bit_by_bit() -> None:
    pool = ConnectionPool(2.0)
    surplus = [idle_connection(pool, NOW + place / 100) for place in range(3)]
    idle_connection(pool, NOW + 2.005)
    assert [can.transport.is_closed for can in surplus] == [True, False, False]


def test_closing_the_pool_closes_what_rests_and_what_comes_to_rest_later() -> None:
    pool = ConnectionPool(2.0)
    resting = idle_connection(pool, NOW)
    pool.close()
    late = idle_connection(pool, NOW)
    assert resting.transport.is_closed
    assert late.transport.is_closed
    assert pool.idle == 0


class OneTimer:
    """A loop with one timer, which goes off when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.due = 0.0
        self.call: Callable[[], object] | None = None

    def time(self) -> float:
        return self.now

    def call_later(self, wait_s: float, call: Callable[..., object], *args: object) -> "OneTimer":
        assert self.call is None, "two timers"
        self.due = self.now + wait_s
        self.call = lambda: call(*args)
        return self

    def cancel(self) -> None:
        self.call = None

    def go_off(self) -> None:
        call, self.call, self.now = self.call, None, self.due
        assert call is not None
        call()


def new_connection(pool: ConnectionPool, loop: OneTimer) -> TinCan:
    """Return a connection that has sent its first request."""
    can = TinCan()
    can.connection.loop = cast("asyncio.AbstractEventLoop", loop)
    pool.began(can.connection)
    return can


def test_a_new_connection_that_is_late_has_one_idle_connection_closed_at_a_time() -> None:
    pool, loop = ConnectionPool(2.0), OneTimer()
    cans = [idle_connection(pool, NOW + place) for place in range(3)]
    late = new_connection(pool, loop)
    loop.go_off()
    assert [can.transport.is_closed for can in cans] == [True, False, False]
    loop.go_off()
    assert [can.transport.is_closed for can in cans] == [True, True, False]
    assert loop.now == 2 * SLOW_FIRST_RESPONSE_S
    pool.answered(late.connection)
    assert loop.call is None
    assert pool.acquire(NOW + 2) is cans[2].connection


def test_a_server_of_one_thread_is_freed_by_the_other_client_of_it() -> None:
    pool, probes, loop = ConnectionPool(2.0), ConnectionPool(9.0), OneTimer()
    probes.join(pool.room)
    probe = idle_connection(probes, NOW)
    late = new_connection(pool, loop)
    loop.go_off()
    assert probes.idle == 1
    loop.go_off()
    assert probe.transport.is_closed
    assert probes.idle == 0
    loop.go_off()
    assert idle_connection(probes, NOW).transport.is_closed, "none may come to rest meanwhile"
    pool.answered(late.connection)
    assert not idle_connection(probes, NOW).transport.is_closed


def test_where_none_is_idle_the_next_ones_that_would_be_are_closed() -> None:
    pool, loop = ConnectionPool(2.0), OneTimer()
    for _ in range(3):
        new_connection(pool, loop)
    answered = new_connection(pool, loop)
    loop.go_off()
    pool.answered(answered.connection)
    cans = [idle_connection(pool, NOW) for _ in range(4)]
    assert [can.transport.is_closed for can in cans] == [True, True, True, False]


def test_a_new_connection_that_is_answered_in_time_closes_none() -> None:
    pool, loop = ConnectionPool(2.0), OneTimer()
    can = idle_connection(pool, NOW)
    pool.answered(new_connection(pool, loop).connection)
    assert loop.call is None
    slow = new_connection(pool, loop)
    pool.answered(slow.connection)
    assert not can.transport.is_closed
    assert not idle_connection(pool, NOW).transport.is_closed


def test_those_of_a_burst_are_closed_when_their_time_is_over_a_part_in_each_turn() -> None:
    pool, loop = ConnectionPool(2.0), OneTimer()
    loop.now = NOW
    few = [idle_connection(pool, NOW) for _ in range(IDLE_USUAL)]
    assert loop.call is None, "a few are closed by the next request"
    burst = [idle_connection(pool, NOW + 1, loop) for _ in range(CLOSED_AT_ONCE + 1)]
    loop.go_off()
    assert loop.now == NOW + 2
    assert all(can.transport.is_closed for can in few)
    assert not any(can.transport.is_closed for can in burst)
    loop.go_off()
    assert loop.now == NOW + 3
    assert [can.transport.is_closed for can in burst] == [True] * CLOSED_AT_ONCE + [False]
    assert loop.call is None
    assert pool.acquire(NOW + 3) is burst[-1].connection
