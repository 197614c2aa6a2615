"""A client that uses another name of a model is answered under that name."""

import json
from pathlib import Path

import pytest

from gateway.rig import RecordedAnswer
from meshlight.gateway.inference.sinks import NamedSink, Renaming
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.profile import Dialect
from node import Node

MODEL = "llama-3.2-3b"
ALIASES = f'[routing.aliases]\nnick = "{MODEL}"\n'
JSON = [(b"content-type", b"application/json"), (b"content-length", b"9")]
BODIES = [
    b'{"id":"x","model":"m","choices":[]}',
    b'{"model": "m"}',
    b'data: {"model":"m","a":"b"}\n\ndata: {"model":"m"}\n\ndata: [DONE]\n\n',
    b'{"content":"say \\"model\\":\\"m\\"","model":"m"}',
    b'{"model":"m2"}{"model":"other"}{"models":"m"}',
    b'{"a":"',
    b"",
]


@pytest.mark.parametrize("dialect", ["llamacpp", "ollama", "vllm", "openai"])
@pytest.mark.parametrize("requested", ["nick", f"a/{MODEL}", MODEL])
@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/messages", "/api/chat"])
async def test_an_answer_names_the_model_as_it_was_asked(
    tmp_path: Path, dialect: Dialect, requested: str, path: str, is_stream: bool
) -> None:
    async with SimulatedEngine(dialect, "a") as engine, Node(tmp_path, [engine], ALIASES) as node:
        ask = {
            "model": requested,
            "messages": [{"role": "user", "content": "hi"}],
            "prompt": "hi",
            "stream": is_stream,
        }
        if path.startswith("/v1/"):
            ask["max_tokens"] = 9
        answer = await node.http.post(path, json=ask)
        assert answer.status_code == 200, answer.text
        assert f'"model":{json.dumps(requested)}' in answer.text
        if requested != MODEL:
            assert f'"model":{json.dumps(MODEL)}' not in answer.text


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("size", [1, 3, 7, 1_000])
@pytest.mark.parametrize("has_room", [True, False])
async def test_wherever_an_answer_is_split_only_the_name_changes(
    body: bytes, size: int, has_room: bool
) -> None:
    answer = RecordedAnswer()

    def offer(data: bytes, chunk: bytes = b"") -> bool:  # noqa: ARG001 - a Sink's
        answer.body += data if has_room else b""
        return has_room

    answer.offer = offer  # type: ignore[method-assign]
    sink = NamedSink(answer, Renaming("m", "nick/1"))
    await sink.start(200, JSON)
    for place in range(0, len(body), size):
        piece = body[place : place + size]
        if not sink.offer(piece):
            await sink.write(piece)
    await sink.end()
    wanted = body.replace(b'"model":"m"', b'"model":"nick/1"').replace(b'"model": "m"', b'"model": "nick/1"')
    assert answer.body == wanted
    assert "content-length" not in answer.headers


async def test_what_is_no_text_goes_as_it_is() -> None:
    answer = RecordedAnswer()
    sink = NamedSink(answer, Renaming("m", "nick"))
    await sink.start(200, [(b"content-type", b"audio/wav"), (b"content-length", b"11")])
    await sink.end(b'"model":"m"')
    assert (answer.body, answer.headers["content-length"]) == (b'"model":"m"', "11")
    sink.abort()
    assert answer.is_cut
