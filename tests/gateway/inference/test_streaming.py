"""From the first byte to the end: pieces pass unchanged, silence has a limit, and the client sees a break."""

import asyncio

import pytest

from gateway.rig import RecordedAnswer
from meshlight.domain.errors import ReadError, RemoteProtocolError
from meshlight.domain.operations import Operation
from meshlight.gateway.inference.attempt import StartedResponse
from meshlight.gateway.inference.streaming import StreamAborted, stream_response
from meshlight.gateway.inference.timeouts import Cancellation
from meshlight.http_client.response import Response

SSE = (b"content-type", b"text/event-stream; charset=utf-8")
EVENT = b'data: {"choices":[]}\n\n'


class Line:
    """The connection below a response."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.is_aborted = False

    def resume(self) -> None:
        pass

    def abort(self) -> None:
        self.is_aborted = True


class Pieces(RecordedAnswer):
    """A sink that keeps the pieces apart, and may be slow to take them."""

    def __init__(self, slow_s: float = 0.0) -> None:
        super().__init__()
        self.pieces: list[bytes] = []
        self._slow_s = slow_s

    async def write(self, data: bytes) -> None:
        self.pieces.append(data)
        await super().write(data)
        if self._slow_s:
            await asyncio.sleep(self._slow_s)

    async def end(self, last: bytes = b"") -> None:
        self.pieces.append(last)
        await super().end(last)


class Stream:
    """A response that the test feeds while it is passed on."""

    def __init__(self, *headers: tuple[bytes, bytes]) -> None:
        self.line = Line()
        self.response = Response(self.line, 200, list(headers), reused=False, sent_at=0.0, first_byte_at=0.0)

    async def feed(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.response.feed(piece)
            self.response.wake()
            await asyncio.sleep(0)

    def end(self) -> None:
        self.response.end()
        self.response.wake()


async def passing(
    stream: Stream, sink: RecordedAnswer, operation: Operation = "chat/completions", idle_s: float = 60.0
) -> None:
    await stream_response(
        StartedResponse(stream.response, EVENT), operation, sink, [], Cancellation(), idle_s
    )


async def test_pieces_pass_as_they_came() -> None:
    stream, sink = Stream(SSE), Pieces()
    task = asyncio.create_task(passing(stream, sink))
    await asyncio.sleep(0)
    assert sink.pieces == [EVENT]
    await stream.feed(b"a", b"bc")
    stream.end()
    await task
    assert sink.pieces == [EVENT, b"a", b"bc", b""]
    assert sink.is_whole
    assert not stream.line.is_aborted


async def test_an_answer_that_is_whole_already_is_one_piece_and_sets_no_timer() -> None:
    stream, sink = Stream(), Pieces()
    stream.end()
    await passing(stream, sink, idle_s=0.0)
    assert sink.pieces == [EVENT]
    assert sink.is_whole


async def test_the_end_goes_with_the_last_piece_where_both_came_together() -> None:
    stream, sink = Stream(SSE), Pieces()
    task = asyncio.create_task(passing(stream, sink))
    await asyncio.sleep(0)
    stream.response.feed(b"last")
    stream.end()
    await task
    assert sink.pieces == [EVENT, b"last"]


async def test_silence_has_a_limit() -> None:
    stream, sink = Stream(SSE), Pieces()
    with pytest.raises(StreamAborted, match=r"nothing for 0\.02 s"):
        await passing(stream, sink, idle_s=0.02)
    assert b'"code":"backend_broke"' in sink.pieces[-1]
    assert sink.is_whole
    assert stream.line.is_aborted


async def test_the_time_that_the_client_takes_is_not_the_backends_silence() -> None:
    stream, sink = Stream(SSE), Pieces(slow_s=0.06)
    task = asyncio.create_task(passing(stream, sink, idle_s=0.02))
    await stream.feed(b"a\n\n")
    stream.end()
    await task
    assert sink.is_whole
    assert b"broke off" not in sink.body


@pytest.mark.parametrize(
    "error", [ReadError("It went.", reused=False, got_bytes=True), RemoteProtocolError("Odd.")]
)
async def test_a_break_is_told_with_its_cause(error: ReadError | RemoteProtocolError) -> None:
    stream, sink = Stream(SSE), Pieces()
    stream.response.fail(error)
    with pytest.raises(StreamAborted, match=error.title):
        await passing(stream, sink)
    assert error.title.encode() in sink.pieces[-1]


@pytest.mark.parametrize("operation", ["responses", "images/generations", "audio/transcriptions", "messages"])
async def test_where_events_have_names_the_error_has_one(operation: Operation) -> None:
    stream, sink = Stream(SSE), Pieces()
    stream.response.fail(RemoteProtocolError("Odd."))
    with pytest.raises(StreamAborted):
        await passing(stream, sink, operation)
    assert sink.pieces[-1].startswith(b'event: error\ndata: {"type":"error","error":{')


async def test_what_can_bear_no_event_is_cut() -> None:
    length, gzip = (b"content-length", b"99"), (b"content-encoding", b"gzip")
    for headers in ((), ((b"content-type", b"application/json"),), (SSE, length), (SSE, gzip)):
        stream, sink = Stream(*headers), Pieces()
        stream.response.fail(RemoteProtocolError("Odd."))
        with pytest.raises(StreamAborted):
            await passing(stream, sink)
        assert sink.is_cut
        assert not sink.is_whole


async def test_a_sink_that_fails_lets_the_backend_go() -> None:
    class Broken(RecordedAnswer):
        async def write(self, data: bytes) -> None:  # noqa: ARG002 - a Sink
            raise RuntimeError("no")

    stream = Stream(SSE)
    with pytest.raises(RuntimeError):
        await passing(stream, Broken())
    assert stream.line.is_aborted


async def test_the_end_of_the_task_lets_the_backend_go() -> None:
    stream = Stream(SSE)
    task = asyncio.create_task(passing(stream, Pieces()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert stream.line.is_aborted


class Eager(Pieces):
    """A sink that takes what is offered while `has_room`."""

    has_room = True

    def offer(self, data: bytes, chunk: bytes = b"") -> bool:
        if self.has_room:
            self.pieces.append(chunk or data)
            self.body += data
        return self.has_room


async def test_a_sink_with_room_gets_each_piece_at_once_and_one_without_gets_it_in_its_turn() -> None:
    stream, sink = Stream(SSE), Eager()
    task = asyncio.create_task(passing(stream, sink))
    await sink.started.wait()
    await asyncio.sleep(0)
    stream.response.feed(b"one")
    stream.response.wake()
    assert sink.pieces[-1] == b"one"
    sink.has_room = False
    stream.response.feed(b"two")
    stream.response.wake()
    stream.response.feed(b"three")
    stream.response.wake()
    assert sink.pieces[-1] == b"one"
    sink.has_room = True
    stream.response.feed(b"four")
    stream.response.wake()
    assert sink.pieces[-1] == b"one"
    stream.response.end()
    stream.response.wake()
    await task
    assert sink.body.endswith(b"onetwothreefour")
    assert sink.is_whole


async def test_a_chunk_that_comes_while_the_stream_waits_passes_as_it_came() -> None:
    stream, sink = Stream(SSE), Eager()
    task = asyncio.create_task(passing(stream, sink))
    await sink.started.wait()
    await asyncio.sleep(0)
    take = stream.response.on_chunk
    assert take is not None
    assert take(b"one", b"3\r\none\r\n")
    assert sink.pieces[-1] == b"3\r\none\r\n"
    sink.has_room = False
    assert not take(b"two", b"3\r\ntwo\r\n")
    await stream.feed(b"two")
    sink.has_room = True
    stream.response.end()
    stream.response.wake()
    await task
    assert sink.body.endswith(b"onetwo")
    assert stream.response.on_chunk is None
