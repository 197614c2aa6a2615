"""An answer as its reader sees it; what the connection does with it is in test_connection."""

import asyncio

import pytest

from meshlight.domain.errors import ReadError, RemoteProtocolError
from meshlight.http_client.response import HIGH_WATER, Response


class Tap:
    """A source that notes what the answer asks of it."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.asked: list[str] = []
        self.response = Response(self, 200, [], reused=False, sent_at=1.0, first_byte_at=1.5)

    def resume(self) -> None:
        self.asked.append("resume")

    def abort(self) -> None:
        self.asked.append("abort")
        self.response.fail(ReadError("given up", reused=False, got_bytes=True))


async def test_a_waiting_reader_is_woken_once_for_all_pieces() -> None:
    response = Tap().response
    reading = asyncio.create_task(response.read())
    await asyncio.sleep(0)
    response.feed(b"a")
    response.feed(b"b")
    response.wake()
    assert await reading == b"ab"
    assert response.unread == 0


async def test_a_waiting_reader_is_not_ended_by_bytes_that_are_framing_alone() -> None:
    response = Tap().response
    reading = asyncio.create_task(response.read())
    await asyncio.sleep(0)
    response.wake()  # the length of a chunk came, the chunk did not
    await asyncio.sleep(0)
    response.feed(b"a")
    response.wake()
    assert await reading == b"a"


async def test_a_waiting_reader_gets_the_clean_end() -> None:
    response = Tap().response
    reading = asyncio.create_task(response.read())
    await asyncio.sleep(0)
    response.end()
    response.wake()
    assert await reading == b""
    assert response.is_complete


async def test_a_waiting_reader_gets_the_error() -> None:
    response = Tap().response
    reading = asyncio.create_task(response.read())
    await asyncio.sleep(0)
    response.fail(RemoteProtocolError("odd"))
    with pytest.raises(RemoteProtocolError):
        await reading
    assert not response.is_complete


async def test_a_pending_read_raises_when_another_task_aborts() -> None:
    tap = Tap()
    reading = asyncio.create_task(tap.response.read())
    await asyncio.sleep(0)
    tap.response.abort()
    with pytest.raises(ReadError):
        await reading
    assert tap.asked == ["abort"]


async def test_a_cancelled_read_aborts() -> None:
    tap = Tap()
    reading = asyncio.create_task(tap.response.read())
    await asyncio.sleep(0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert tap.asked == ["abort"]


async def test_the_server_may_go_on_once_a_full_buffer_was_read() -> None:
    tap = Tap()
    tap.response.feed(b"x" * HIGH_WATER)
    await tap.response.read()
    assert tap.asked == []
    tap.response.feed(b"x" * (HIGH_WATER + 1))
    await tap.response.read()
    assert tap.asked == ["resume"]


async def test_aborting_after_the_end_is_harmless() -> None:
    tap = Tap()
    tap.response.feed(b"x")
    tap.response.end()
    tap.response.abort()
    assert tap.asked == []
    assert await tap.response.read() == b"x"
