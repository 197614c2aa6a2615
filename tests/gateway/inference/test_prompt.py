"""What the choice of a route depends on is read from the bytes of a request."""

import msgspec
import pytest

from gateway.rig import Rig
from meshlight.domain.backend import Kind
from meshlight.domain.operations import Operation
from meshlight.gateway.inference.prompt import CONVERSES, keep_s_of, read_prompt


def body(text: str = "hello", /, **fields: object) -> bytes:
    return msgspec.json.encode({"model": "m", "messages": [{"role": "user", "content": text}]} | fields)


async def test_the_size_the_limit_and_the_conversation() -> None:
    rig = Rig()
    reading = await read_prompt(rig.inbound("chat/completions", "m", body("word " * 400, max_tokens=64)))
    assert 450 < reading.tokens < 600
    assert reading.answer_tokens == 64
    again = await read_prompt(rig.inbound("chat/completions", "m", body("word " * 400)))
    assert reading.conversation is not None
    assert (again.answer_tokens, again.conversation) == (0, reading.conversation)


async def test_a_large_body_is_read_too() -> None:
    reading = await read_prompt(Rig().inbound("messages", "m", body("word " * 200_000, max_tokens=9)))
    assert reading.tokens > 200_000
    assert reading.answer_tokens == 9


@pytest.mark.parametrize("name", ["max_completion_tokens", "max_output_tokens", "num_predict"])
async def test_each_protocol_has_its_word_for_the_limit(name: str) -> None:
    reading = await read_prompt(Rig().inbound("responses", "m", body("hello", **{name: 7})))
    assert reading.answer_tokens == 7


async def test_a_limit_in_a_text_is_none() -> None:
    reading = await read_prompt(Rig().inbound("messages", "m", body('say "max_tokens": 5')))
    assert reading.answer_tokens == 0


@pytest.mark.parametrize("operation", sorted({"embeddings", "audio/speech", "rerank"}))
async def test_what_is_no_conversation_is_not_read(operation: Operation) -> None:
    assert operation not in CONVERSES
    reading = await read_prompt(Rig().inbound(operation, "m", body()))
    assert (reading.tokens, reading.answer_tokens, reading.conversation) == (0, 0, None)


def sent(
    kind: Kind, operation: Operation, keep_alive_s: float | None = None, **fields: object
) -> float | None:
    inbound = Rig().inbound(operation, "m", body(**fields))
    return keep_s_of(inbound.changed(keep_alive_s=keep_alive_s), kind)


def test_how_long_a_request_keeps_the_model_in_memory() -> None:
    assert sent("ollama", "api/chat", 0.0) == 0.0
    assert sent("ollama", "api/chat", -1.0) == -1.0
    assert sent("ollama", "chat/completions", 60.0, ttl=60) is None, "Ollama reads neither there"
    assert sent("lmstudio", "chat/completions", ttl=300) == 300.0
    assert sent("lmstudio", "messages", cache_control={"type": "ephemeral", "ttl": "5m"}) is None
    assert sent("lmstudio", "chat/completions", note='{"ttl": 5}') is None
    assert sent("lmstudio", "chat/completions") is None
    assert sent("vllm", "chat/completions", 60.0, ttl=60) is None
