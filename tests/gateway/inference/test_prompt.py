"""What the choice of a route depends on is read from the bytes of a request."""

from collections.abc import Iterable

import msgspec
import pytest

from gateway.rig import Rig
from meshlight.domain.operations import Operation
from meshlight.gateway.inference.prompt import CONVERSES, made_response, previous_response, read_prompt


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
    assert await read_prompt(Rig().inbound(operation, "m", body())) == msgspec.structs.replace(
        await read_prompt(Rig().inbound("rerank", "m", b"{}"))
    )


@pytest.mark.parametrize(
    ("sent", "found"),
    [
        (body(), b""),
        (body(previous_response_id="resp_1"), b"resp_1"),
        (body(previous_response_id=None), b""),
        (body(previous_response_id="x" * 201), b""),
        (body('"previous_response_id": "resp_2"'), b""),
    ],
)
def test_the_response_that_is_continued(sent: bytes, found: bytes) -> None:
    assert previous_response(sent) == found


@pytest.mark.parametrize(
    ("first", "found"),
    [
        (b'{"id":"resp_1","object":"response"}', b"resp_1"),
        (b'event: response.created\ndata: {"type":"x","response":{"id": "resp_2"}}\n\n', b"resp_2"),
        (b'{"id":"msg_1"}', b""),
        (b" " * 3_000 + b'{"id":"resp_1"}', b""),
    ],
)
def test_the_response_that_was_made(first: bytes, found: Iterable[int]) -> None:
    assert made_response(first) == found
