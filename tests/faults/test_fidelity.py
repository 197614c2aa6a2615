"""Answers reach the client byte for byte, and requests reach the backend so."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from faults.raw import RawBackend, chat, chunked, complete, responds
from meshlight.simulator.engine import SimulatedEngine
from node import Node

ODD_STREAM = (
    b": keep-alive 1/9\n\n",
    b'data: {"id":"x","choices":[{"delta":{"content":null}}],"z":1,"a":12345678901234567890123}\n\n',
    b'event: odd\nid: 7\nretry: 10\ndata: {"choices":[{"delta":{"content":"h\xc3\xa9llo \\ud83d"}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"\\ude80"}}],"logprobs":-0.0,"t":1.10E+2}\r\n\r\n',
    b"\n",
    b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":3,"x":{"cached":0}}}\n\n',
    b"data: [DONE]\n\n",
)
ODD_BODY = (
    b'{ "z" : 1.10, "n":12345678901234567890123,"e":-1E+05,\n'
    b'"choices":[{"message":{"content":"\\ud83d \\u00e9 \xc3\xa9"}}],'
    b'"usage":{"prompt_tokens":1,"completion_tokens":2} ,"a":null}'
)
ASKED = (
    b'{ "zeta":1.10,"messages":[{"role":"user","content":"\\ud83d half, \xf0\x9f\x9a\x80 complete, '
    b'\\"model\\": \\"inner\\"","model":"inner"}],\n\t"model" :  "%b" ,"seed":12345678901234567890123,'
    b'"unknown_to_us":{"b":[1,{}],"a":null},"temperature":-0.0,"stream":false}  '
)


async def stream(node: Node, **fields: Any) -> bytes:
    async with node.http.stream(
        "POST", "/v1/chat/completions", json=chat("m", stream=True, **fields)
    ) as answer:
        assert answer.status_code == 200
        return b"".join([piece async for piece in answer.aiter_raw()])


@pytest.mark.parametrize("cut", ["by event", "byte by byte", "all at once"])
async def test_a_stream_arrives_byte_for_byte(tmp_path: Path, cut: str) -> None:
    pieces = chunked(*ODD_STREAM)
    if cut == "byte by byte":
        pieces = [bytes((byte,)) for byte in b"".join(pieces)]
    elif cut == "all at once":
        pieces = [b"".join(pieces)]
    async with RawBackend("a", respond=responds(*pieces)) as backend, Node(tmp_path, [backend]) as node:
        assert await stream(node) == b"".join(ODD_STREAM)
        work = (await node.backend("a"))["requests"]
        assert (work["tokens_in"], work["tokens_out"]) == (7, 3)


async def test_a_stream_that_only_the_connections_end_ends_arrives_whole(tmp_path: Path) -> None:
    async def respond(writer: Any, request: Any) -> None:
        await responds(b"HTTP/1.0 200 OK\r\ncontent-type: text/event-stream\r\n\r\n", *ODD_STREAM)(
            writer, request
        )
        writer.close()

    async with RawBackend("a", respond=respond) as backend, Node(tmp_path, [backend]) as node:
        assert await stream(node) == b"".join(ODD_STREAM)


@pytest.mark.parametrize("step", [1, 7, 10_000])
async def test_a_whole_answer_arrives_byte_for_byte(tmp_path: Path, step: int) -> None:
    raw = complete(ODD_BODY, b"content-type: application/json; charset=utf-8")
    pieces = [raw[at : at + step] for at in range(0, len(raw), step)]
    async with RawBackend("a", respond=responds(*pieces)) as backend, Node(tmp_path, [backend]) as node:
        answer = await node.chat("m")
        assert answer.content == ODD_BODY
        assert answer.headers["content-type"] == "application/json; charset=utf-8"
        assert answer.headers["content-length"] == str(len(ODD_BODY))


@pytest.mark.parametrize(
    "operation", ["chat/completions", "completions", "embeddings", "responses", "rerank"]
)
async def test_a_request_reaches_the_backend_byte_for_byte(tmp_path: Path, operation: str) -> None:
    async with RawBackend("a") as backend, Node(tmp_path, [backend]) as node:
        headers = {"content-type": "application/json"}
        answer = await node.http.post(f"/v1/{operation}?beta=%20x&b", content=ASKED % b"m", headers=headers)
        assert answer.status_code == 200, answer.text
        (request,) = backend.posts
        assert request.body == ASKED % b"m"
        assert request.target == f"/v1/{operation}?beta=%20x&b"


@pytest.mark.parametrize("requested", ["nick", "a/m", "A Name/m"])
async def test_only_the_value_of_model_changes_where_another_name_was_used(
    tmp_path: Path, requested: str
) -> None:
    config = 'routing.aliases = { nick = "m" }'
    async with RawBackend("a") as backend, Node(tmp_path, [backend], config) as node:
        await node.http.patch("/mesh/backends/a", json={"name": "A Name"})
        headers = {"content-type": "application/json"}
        answer = await node.http.post(
            "/v1/chat/completions", content=ASKED % requested.encode(), headers=headers
        )
        assert answer.status_code == 200, answer.text
        assert backend.posts[0].body == ASKED % b"m"


async def test_a_form_reaches_the_backend_byte_for_byte(tmp_path: Path) -> None:
    audio = bytes(range(256)) * 40 + b'\r\n--x\r\nname="model"\r\n\r\n'
    parts = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n' + audio
    parts += b'\r\n--b\r\nContent-Disposition: form-data; name="model"\r\n\r\n%b\r\n--b--\r\n'
    async with (
        RawBackend("a", ["whisper"]) as backend,
        Node(tmp_path, [backend], 'routing.aliases = { nick = "whisper" }') as node,
    ):
        for name in (b"whisper", b"nick"):
            answer = await node.http.post(
                "/v1/audio/transcriptions",
                content=parts.replace(b"%b", name),
                headers={"content-type": "multipart/form-data; boundary=b"},
            )
            assert answer.status_code == 200, answer.text
        assert [request.body for request in backend.posts] == [parts.replace(b"%b", b"whisper")] * 2


async def test_what_an_engine_trickles_out_is_what_it_says(tmp_path: Path) -> None:
    async with SimulatedEngine("vllm", "a", length=12) as engine, Node(tmp_path, [engine]) as node:
        await engine.fault("trickle", scope="inference")
        body = chat(said="COUNT", stream=True, stream_options={"include_usage": True})
        answer = await node.http.post("/v1/chat/completions", json=body)
        events = [line[6:] for line in answer.text.split("\n") if line.startswith("data: ")]
        assert events[-1] == "[DONE]"
        chunks = [json.loads(event) for event in events[:-1]]
        text = "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks if c["choices"])
        assert text == " ".join(map(str, range(12)))
        assert chunks[-1]["usage"]["completion_tokens"] == 12


async def test_fifty_megabytes_pass_both_ways(tmp_path: Path) -> None:
    size = 50 * 1024 * 1024
    back = hashlib.sha256(b"0123456789abcdef" * (size // 16))
    raw = complete(b"0123456789abcdef" * (size // 16), b"content-type: application/octet-stream")
    async with RawBackend("a", respond=responds(raw)) as backend, Node(tmp_path, [backend]) as node:
        body = b'{"model": "a/m", "image": "' + b"QUJD" * (size // 4) + b'"}'
        answer = await node.http.post(
            "/v1/chat/completions", content=body, headers={"content-type": "application/json"}
        )
        assert hashlib.sha256(answer.content).digest() == back.digest()
        expected = hashlib.sha256(body.replace(b'"a/m"', b'"m"', 1)).digest()
        assert hashlib.sha256(backend.posts[0].body).digest() == expected
