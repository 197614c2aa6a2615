"""How an exchange ends: whole, broken, given up, too large."""

import asyncio

import pytest

from http_client.fake_connection import Outcome, TinCan, drain, listen, step
from meshlight.domain.errors import ReadError, RemoteProtocolError
from meshlight.http_client.connection import HEAD_MAX, HEADERS_MAX
from meshlight.http_client.response import HIGH_WATER
from servers.byte_server import OK, chunk

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
TO_THE_END = b"HTTP/1.0 200 OK\r\n\r\n"


@pytest.mark.parametrize("body", [b"", b"partial"])
def test_what_came_before_a_break_is_read_before_the_error(body: bytes) -> None:
    can = TinCan()
    answer = can.ask()
    can.hear(b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\n" + body)
    response = answer.result()
    can.break_off()
    if body:
        assert step(response.read()) == body
    for _ in range(2):
        with pytest.raises(ReadError, match="in the middle of an answer") as caught:
            step(response.read())
        assert caught.value.got_bytes


def test_a_loss_tells_whether_anything_had_come_and_whether_the_connection_was_used_before() -> None:
    can = TinCan()
    first = can.ask()
    can.hear(OK)
    first.result()
    answer = can.ask()
    can.break_off()
    with pytest.raises(ReadError, match="without an answer") as caught:
        answer.result()
    assert caught.value.reused
    assert not caught.value.got_bytes
    fresh = TinCan()
    answer = fresh.ask()
    fresh.hear(b"H")
    fresh.hang_up()
    with pytest.raises(ReadError, match="head") as caught:
        answer.result()
    assert not caught.value.reused
    assert caught.value.got_bytes


def test_a_reset_behind_a_refusal_without_a_length_ends_it() -> None:
    for status, error in ((413, None), (200, ReadError)):
        can, outcome = TinCan(), Outcome()
        answer = can.ask()
        can.hear(b"HTTP/1.0 %d X\r\n\r\ntoo big" % status)
        can.break_off()
        try:
            outcome.body = b"".join(drain(answer.result()))
        except ReadError:
            outcome.error = ReadError
        assert outcome.error is error


def test_an_answer_before_the_request_was_sent_whole_counts_and_ends_the_connection() -> None:
    can = TinCan()
    answer = can.ask()
    can.transport.unsent = 1000
    can.hear(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno")
    response = answer.result()
    assert response.status == 413
    assert b"".join(drain(response)) == b"no"
    assert not can.is_kept
    assert can.transport.is_closed


def test_a_reader_that_lags_makes_the_server_wait_until_it_reads() -> None:
    can = TinCan()
    answer = can.ask()
    can.hear(CHUNKED, chunk(b"x" * HIGH_WATER))
    at_the_mark = can.transport.is_paused
    can.hear(chunk(b"y"))
    above = can.transport.is_paused
    response = answer.result()
    assert len(step(response.read()) or b"") == HIGH_WATER + 1
    assert (at_the_mark, above, can.transport.is_paused) == (False, True, False)


def test_aborting_ends_the_connection_and_a_waiting_read() -> None:
    can = TinCan()
    answer = can.ask()
    can.hear(CHUNKED + chunk(b"hi"))
    response = answer.result()
    response.abort()
    assert can.transport.is_closed
    with pytest.raises(ReadError, match="given up"):
        step(response.read())
    response.abort()


def test_giving_up_one_exchange_does_not_touch_the_next_on_the_same_connection() -> None:
    can = TinCan()
    first = can.ask()
    can.hear(OK)
    second = can.ask()
    can.connection.abandon(first)
    can.hear(OK)
    assert second.result().status == 200
    assert not can.transport.is_closed


def test_giving_up_closes_the_connection_before_and_after_the_head() -> None:
    for heard in (b"", CHUNKED, b"garbage"):
        can = TinCan()
        answer = can.ask()
        can.hear(heard)
        can.connection.abandon(answer)
        assert can.transport.is_closed


def test_an_answer_for_somebody_who_has_left_closes_the_connection() -> None:
    can = TinCan()
    answer = can.ask()
    answer.cancel()
    can.hear(CHUNKED)
    assert can.transport.is_closed
    can.connection.abandon(answer)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * HEAD_MAX + b"\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * (8 * HEAD_MAX),
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * (HEADERS_MAX + 1) + b"\r\n",
        CHUNKED + b"1;" + b"x" * (8 * HEAD_MAX),
        CHUNKED + chunk(b"hi") + b"0\r\nx: " + b"y" * (8 * HEAD_MAX),
        b"HTTP/1.1 102 X\r\n\r\n" * 30000,
    ],
    ids=["long head", "endless head", "many headers", "endless extension", "endless trailer", "endless 1xx"],
)
@pytest.mark.parametrize("size", [1000, 1 << 18])
def test_a_head_without_measure_is_cut_off(raw: bytes, size: int) -> None:
    outcome = listen([raw[i : i + size] for i in range(0, len(raw), size)], is_closed_after=False)
    assert outcome.error is RemoteProtocolError


def test_a_head_of_almost_the_limit_is_read_though_a_body_follows_at_once() -> None:
    head = b"HTTP/1.1 200 OK\r\nx: " + b"y" * (HEAD_MAX - 100) + b"\r\ncontent-length: 90000\r\n\r\n"
    assert listen([head + b"z" * 90000]).body == b"z" * 90000


def test_two_readers_of_one_answer_are_a_mistake() -> None:
    can = TinCan()
    answer = can.ask()
    can.hear(CHUNKED)
    first = answer.result().read()
    assert step(first) is None
    with pytest.raises(RuntimeError, match="waiting already"):
        step(answer.result().read())
    with pytest.raises(asyncio.CancelledError):
        first.throw(asyncio.CancelledError())
    assert can.transport.is_closed
