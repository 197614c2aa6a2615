"""Ollama's own client works on servers that speak OpenAI's API only."""

from collections.abc import Callable, Iterator
from typing import Any

import ollama
import pytest

from gateway.translation.anthropic.requests import EVENTS, chunk, completion, stream
from gateway.translation.ollama.test_embed import vectors
from gateway.translation.translation_server import stage
from meshlight.gateway.translation.ollama.embed import translate_embed, translate_embeddings
from meshlight.gateway.translation.ollama.generate import translate_chat, translate_generate

CALL = {"index": 0, "id": "call_1", "function": {"name": "add", "arguments": '{"a": 1}'}}
USAGE = {"prompt_tokens": 12, "completion_tokens": 5}
TURN = [{"role": "user", "content": "1 + 2?"}]
FACES: dict[str, Callable[..., Any]] = {
    "/api/chat": translate_chat,
    "/api/generate": translate_generate,
    "/api/embed": translate_embed,
    "/api/embeddings": translate_embeddings,
}


@pytest.fixture
def serve() -> Iterator[Callable[..., ollama.Client]]:
    """A client of a server that translates, with an engine behind it that always says the same."""
    with stage(lambda path, body: FACES[path](body, "tiny")) as start:
        yield lambda *message, **more: ollama.Client(start(*message, **more), trust_env=False)


Serve = Callable[..., ollama.Client]


def test_it_reads_an_answer(serve: Serve) -> None:
    message = {"reasoning": "Hm.", "content": "I add.", "tool_calls": [CALL]}
    client = serve(completion(message, "tool_calls", usage=USAGE))
    found = client.chat("tiny", TURN, options={"num_ctx": 4096, "temperature": 0}, keep_alive="5m")
    assert found.message.thinking == "Hm."
    assert found.message.content == "I add."
    assert found.message.tool_calls is not None
    assert found.message.tool_calls[0].function.arguments == {"a": 1}
    assert (found.done_reason, found.prompt_eval_count, found.eval_count) == ("stop", 12, 5)


def test_it_reads_a_stream_and_can_send_it_back(serve: Serve) -> None:
    data = stream(
        chunk({"reasoning_content": "Hm."}),
        *(chunk({"content": text}) for text in ("I ", "add. \U0001f600")),
        chunk({"tool_calls": [CALL]}),
        chunk({}, "tool_calls"),
        {"choices": [], "usage": USAGE},
    )
    client = serve(data, EVENTS)
    found = list(client.chat("tiny", TURN, stream=True))
    assert "".join(part.message.content or "" for part in found) == "I add. \U0001f600"
    assert found[-1].done
    assert found[-1].eval_count == 5
    called = next(part.message for part in found if part.message.tool_calls)
    result = {"role": "tool", "tool_name": "add", "content": "3"}
    assert list(client.chat("tiny", [*TURN, called, result], stream=True))


def test_it_generates_and_loads(serve: Serve) -> None:
    client = serve(completion({"content": "3"}))
    assert client.generate("tiny", "1 + 2?", system="Be short.").response == "3"
    assert client.generate("tiny", "").done_reason == "load"


def test_it_embeds(serve: Serve) -> None:
    client = serve(vectors((0, [0.5, 1])))
    assert client.embed("tiny", "a").embeddings == [[0.5, 1]]
    assert client.embeddings("tiny", "a").embedding == [0.5, 1]


def test_it_raises_what_failed(serve: Serve) -> None:
    client = serve(b'{"detail":"No such model"}', status=404)
    with pytest.raises(ollama.ResponseError, match="No such model") as caught:
        client.chat("tiny", TURN)
    assert caught.value.status_code == 404


def test_it_raises_what_broke_in_mid_stream(serve: Serve) -> None:
    data = stream(chunk({"content": "I"}), done=False) + b'data: {"error":{"message":"slot lost"}}\n\n'
    with pytest.raises(ollama.ResponseError, match="slot lost"):
        list(serve(data, EVENTS).chat("tiny", TURN, stream=True))
