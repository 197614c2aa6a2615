"""A stream that begins before its answer: what the client reads, whatever comes after the first sign of life."""

import json
from typing import Any

import msgspec
import pytest

from gateway.rig import RecordedAnswer, Rig
from meshlight.domain.errors import AllBusy
from meshlight.domain.operations import Operation
from meshlight.domain.peers import Peer
from meshlight.gateway.inference.request import Head, InferenceRequest
from meshlight.gateway.inference.waiting_stream import WaitingStream, takes_beats
from meshlight.http_client.client import Headers

STREAM: Headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-meshlight-backend", b"a")]
JSON: Headers = [(b"content-type", b"application/json")]


def asked(operation: Operation = "chat/completions", *, stream: bool = True) -> InferenceRequest:
    return Rig().inbound(operation, "m", b"{}").changed(head=Head("m", stream=stream))


def made(operation: Operation = "chat/completions") -> tuple[WaitingStream, RecordedAnswer]:
    answer = RecordedAnswer()
    return WaitingStream(answer, asked(operation)), answer


def event(body: bytes) -> Any:
    """Return the JSON of the last event."""
    return json.loads(body.rstrip().rpartition(b"\n")[2].removeprefix(b"data: "))


@pytest.mark.parametrize(
    ("request_", "takes"),
    [
        (asked(), True),
        (asked("completions"), True),
        (asked("messages"), True),
        (asked(stream=False), False),
        (asked("responses"), False),
        (asked("api/chat"), False),
        (asked().changed(visited=("n",)), False),
        (asked().changed(guest=Peer(id="f" * 64, name="p", url="")), False),
    ],
)
def test_only_streams_of_protocols_that_allow_it_begin_early(request_: InferenceRequest, takes: bool) -> None:
    assert takes_beats(request_) is takes


async def test_without_a_beat_everything_passes_through() -> None:
    stream, answer = made()
    await stream.start(404, JSON)
    assert not stream.offer(b"x")
    await stream.write(b"1")
    await stream.end(b"2")
    assert (answer.status, answer.body, stream.has_begun) == (404, b"12", False)


@pytest.mark.parametrize(
    ("operation", "beat"),
    [("completions", b": waiting\n\n"), ("messages", b'event: ping\ndata: {"type": "ping"}\n\n')],
)
async def test_the_head_is_sent_once_and_the_answer_follows_the_beats(
    operation: Operation, beat: bytes
) -> None:
    stream, answer = made(operation)
    await stream.beat()
    await stream.beat()
    await stream.start(200, STREAM)
    await stream.write(b"data: 1\n\n")
    await stream.end(b"data: 2\n\n")
    assert answer.body == beat * 2 + b"data: 1\n\ndata: 2\n\n"
    assert answer.headers["content-type"] == "text/event-stream"
    assert ("request-id" in answer.headers) == (operation == "messages")
    assert (stream.has_begun, answer.is_whole) == (True, True)
    stream.abort()
    assert answer.is_cut


@pytest.mark.parametrize(("operation", "name"), [("completions", b""), ("messages", b"event: error\n")])
async def test_a_failure_comes_as_the_protocols_event(operation: Operation, name: bytes) -> None:
    stream, answer = made(operation)
    await stream.beat()
    sent = len(answer.body)
    await stream.fail(AllBusy("Busy.", "Come back.", 5.0))
    assert answer.body[sent:].startswith(name + b"data: ")
    assert event(answer.body)["error"]["message"] == "Busy. Come back."
    assert event(answer.body)["error"]["type"] == "rate_limit_error"


async def test_a_backends_own_error_is_passed_on_as_an_event() -> None:
    stream, answer = made()
    error = {"error": {"message": "too long", "type": "invalid_request_error", "code": None}}
    body = msgspec.json.format(msgspec.json.encode(error), indent=2)
    await stream.beat()
    await stream.start(400, JSON)
    await stream.write(body[:10])
    assert stream.offer(body[10:20])
    await stream.end(body[20:])
    assert (event(answer.body), answer.status) == (error, 200)


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (503, JSON, b"no json"),
        (503, JSON, b'{"error": "a text"}'),
        (200, JSON, b'{"choices": []}'),
        (200, [*STREAM, (b"content-encoding", b"gzip")], b"\x1f\x8b"),
    ],
)
async def test_what_is_neither_a_stream_nor_an_error_is_told(
    status: int, headers: Headers, body: bytes
) -> None:
    stream, answer = made("messages")
    await stream.beat()
    await stream.start(status, headers)
    await stream.end(body)
    error = event(answer.body)["error"]
    assert error["message"] == f"The backend answered with status {status} and no stream."
