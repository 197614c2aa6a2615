from http_client.fake_connection import TinCan
from meshlight.http_client.client import ConnectionPool
from servers.byte_server import OK

NOW = 1000.0


def idle_connection(pool: ConnectionPool, at: float) -> TinCan:
    """Return a connection that has served once and has rested in `pool` since `at`."""
    can = TinCan()
    can.ask()
    can.hear(OK)
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
