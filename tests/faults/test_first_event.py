"""An error as the first thing in a 200 stream is a refusal: the next backend answers, and the client sees nothing."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from faults.raw import RawBackend, chat, chunked, complete, responds
from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node
from servers.byte_server import Request

CHAT = "/v1/chat/completions"
LINES = b"application/x-ndjson"
NAMED = b'event: error\ndata: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}\n\n'
BARE = b'data: {"error":{"message":"no slot","code":503}}\n\ndata: [DONE]\n\n'
ERRORS: list[list[bytes]] = [
    chunked(BARE),
    chunked(NAMED),
    chunked(b": warming up\n\n" + BARE),
    chunked(*[BARE[place : place + 5] for place in range(0, len(BARE), 5)]),
    chunked(b'data: {"object":"error","message":"CUDA out of memory","code":500}\n\n'),
    chunked(b'data: {"id":"x","choices":[],"error":{"code":502,"message":"provider is away"}}\r\n\r\n'),
    chunked(b"event: error\r\ndata: the engine died\r\n\r\n"),
    chunked(b'{"error":"llama runner process has terminated"}\n', content_type=LINES),
    [complete(b'{"error": {"message": "worker died", "code": 500}}', b"content-type: application/json")],
]


@pytest.mark.parametrize("pieces", ERRORS)
async def test_the_next_backend_answers_where_a_stream_begins_with_an_error(
    tmp_path: Path, pieces: list[bytes]
) -> None:
    async with (
        RawBackend("a", respond=responds(*pieces)) as bad,
        SimulatedEngine("vllm", "b", ["m"]) as good,
        Node(tmp_path, [bad, good], IN_ORDER) as node,
    ):
        answer = await node.chat("m", stream=True)
        assert (answer.status_code, answer.headers["x-meshlight-backend"]) == (200, "b")
        assert answer.text.endswith("data: [DONE]\n\n")
        assert b"error" not in answer.content
        assert (len(bad.posts), len(good.calls())) == (1, 1)


@pytest.mark.parametrize(("path", "back"), [("/v1/messages", "message_stop"), ("/api/chat", '"done":true')])
async def test_it_is_so_for_translated_requests(tmp_path: Path, path: str, back: str) -> None:
    async def respond(writer: asyncio.StreamWriter, request: Request) -> None:
        lacks = request.target != CHAT
        pieces = [complete(b"{}", status=b"404 Not Found")] if lacks else chunked(BARE)
        await responds(*pieces)(writer, request)

    async with (
        RawBackend("a", respond=respond) as bad,
        SimulatedEngine("vllm", "b", ["m"]) as good,
        Node(tmp_path, [bad, good], IN_ORDER) as node,
    ):
        answer = await node.http.post(
            path, json=chat("m", stream=True, max_tokens=20) if "v1" in path else chat("m")
        )
        assert (answer.status_code, answer.headers["x-meshlight-backend"]) == (200, "b")
        assert back in answer.text
        assert "no slot" not in answer.text


@pytest.mark.parametrize(
    ("event", "status"),
    [(BARE, 503), (NAMED, 529), (b'data: {"error":{"message":"?"}}\n\n', 500)],
)
async def test_with_no_other_backend_the_client_gets_it_as_a_status(
    tmp_path: Path, event: bytes, status: int
) -> None:
    async with RawBackend("a", respond=responds(*chunked(event))) as bad, Node(tmp_path, [bad]) as node:
        answer = await node.chat("m", stream=True)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/json"
        assert answer.json()["error"]["message"]


async def test_what_speaks_of_the_request_reaches_the_client_as_it_came(tmp_path: Path) -> None:
    event = b'data: {"error":{"message":"too long","type":"invalid_request_error","code":400}}\n\n'
    async with (
        RawBackend("a", respond=responds(*chunked(event))) as first,
        RawBackend("b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        answer = await node.chat("m", stream=True)
        assert (answer.status_code, answer.content) == (200, event)
        assert not second.posts


HARMLESS = [
    b'data: {"id":"1","error":null,"choices":[{"delta":{"content":"hi"}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"an error, event: error, {\\"error\\":1}"}}]}\n\n',
    b'event: response.created\ndata: {"type":"response.created","response":{"error":null}}\n\n',
    b": error\n\n",
    b'{"response":"error"}\n',
    b"error",
    b"d",
    b"ID3\x03error\x00\x00",
]


@pytest.mark.parametrize("first", HARMLESS)
async def test_what_only_looks_like_one_passes_byte_for_byte(tmp_path: Path, first: bytes) -> None:
    async with (
        RawBackend("a", respond=responds(*chunked(first, b"data: x\n\n"))) as backend,
        Node(tmp_path, [backend]) as node,
    ):
        answer = await node.chat("m", stream=True)
        assert (answer.status_code, answer.content) == (200, first + b"data: x\n\n")


@pytest.mark.parametrize(
    "first", [b'data: {"id":"1"', b'data: {"choices":[{"del', b": hello\n\n", b"event: message_st"]
)
async def test_the_first_bytes_of_an_ordinary_stream_do_not_wait(tmp_path: Path, first: bytes) -> None:
    go = asyncio.Event()
    rest = b',"choices":[]}\n\n'

    async def respond(writer: asyncio.StreamWriter, request: Request) -> None:
        head, piece, last, end = chunked(first, rest)
        await responds(head + piece)(writer, request)
        await go.wait()
        await responds(last, end)(writer, request)

    async with RawBackend("a", respond=respond) as backend, Node(tmp_path, [backend]) as node:
        async with node.http.stream("POST", CHAT, json=chat("m", stream=True)) as answer:
            pieces = answer.aiter_raw()
            got = await anext(pieces)
            assert got == first
            go.set()
            async for piece in pieces:
                got += piece
        assert got == first + rest


async def test_an_error_after_the_first_word_stays_where_it_stands(tmp_path: Path) -> None:
    word = b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\n'
    async with (
        RawBackend("a", respond=responds(*chunked(word, BARE))) as first,
        RawBackend("b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        answer = await node.chat("m", stream=True)
        assert answer.content == word + BARE
        assert not second.posts


async def test_three_of_them_send_requests_elsewhere_for_a_while(tmp_path: Path) -> None:
    async with (
        RawBackend("a", respond=responds(*chunked(BARE))) as bad,
        SimulatedEngine("vllm", "b", ["m"]) as good,
        Node(tmp_path, [bad, good], IN_ORDER) as node,
    ):
        for _ in range(5):
            assert (await node.chat("m", stream=True)).headers["x-meshlight-backend"] == "b"
        assert len(bad.posts) == 3
        health: dict[str, Any] = (await node.backend("a"))["health"]
        assert health["reason"] == "failing-requests"
        assert "no slot" not in json.dumps(health)
