"""Anthropic's own client works on a server that speaks chat completions only."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import pytest

from gateway.translation.anthropic.requests import chunk, completion, stream
from gateway.translation.translation_server import stage
from meshlight.gateway.translation.anthropic.api import translate_count, translate_messages
from meshlight.gateway.translation.base import TranslatedRequest

TOOL = {"name": "add", "input_schema": {"type": "object"}}
CALL = {"id": "call_1", "function": {"name": "add", "arguments": '{"a": 1}'}}
USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}}
Serve = Callable[..., Any]
"""Returns a client; it is not typed here, for what the tests send are plain dicts."""


def translated(path: str, body: bytes) -> TranslatedRequest:
    return (translate_count if path.endswith("/count_tokens") else translate_messages)(body, "tiny")


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A client of a server that translates, with an engine behind it that always says the same."""
    with stage(translated) as start:
        yield lambda *message, **more: anthropic.Anthropic(
            api_key="k", base_url=start(*message, **more), max_retries=0
        )


def test_it_reads_a_message(serve: Serve) -> None:
    message = {"reasoning": "Hm.", "content": "I add.", "tool_calls": [CALL]}
    with serve(completion(message, "tool_calls", usage=USAGE)) as client:
        answer = client.messages.create(
            model="claude", max_tokens=9, tools=[TOOL], messages=[{"role": "user", "content": "1 + 2?"}]
        )
    anthropic.types.Message.model_validate(answer.model_dump(), strict=True)
    assert [block.type for block in answer.content] == ["thinking", "text", "tool_use"]
    assert answer.content[2].input == {"a": 1}
    assert answer.stop_reason == "tool_use"
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens) == (4, 8)


def test_it_accumulates_a_stream(serve: Serve) -> None:
    data = stream(
        chunk({"reasoning_content": "Hm."}),
        chunk({"content": "I "}),
        chunk({"content": "add. \U0001f600"}),
        chunk({"tool_calls": [CALL | {"index": 0}]}),
        chunk({}, "tool_calls"),
        {"choices": [], "usage": USAGE},
    )
    with (
        serve(data, b"text/event-stream") as client,
        client.messages.stream(
            model="claude", max_tokens=9, messages=[{"role": "user", "content": "1 + 2?"}]
        ) as events,
    ):
        assert "".join(events.text_stream) == "I add. \U0001f600"
        answer = events.get_final_message()
    assert [block.type for block in answer.content] == ["thinking", "text", "tool_use"]
    assert answer.content[0].thinking == "Hm."
    assert answer.content[2].input == {"a": 1}
    assert answer.stop_reason == "tool_use"
    assert answer.usage.output_tokens == 5
    assert answer.usage.input_tokens == 4


def test_what_it_got_it_can_send_back(serve: Serve) -> None:
    data = stream(
        chunk({"reasoning": "Hm.", "content": "I add.", "tool_calls": [CALL | {"index": 0}]}),
        chunk({}, "stop"),
    )
    with serve(data, b"text/event-stream") as client:
        turns = [{"role": "user", "content": "1 + 2?"}]
        with client.messages.stream(model="claude", max_tokens=9, messages=turns) as events:
            answer = events.get_final_message()
    message = [block.model_dump(exclude_none=True) for block in answer.to_param()["content"]]
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": "3"}
    body = {
        "model": "claude",
        "max_tokens": 9,
        "messages": [
            *turns,
            {"role": "assistant", "content": message},
            {"role": "user", "content": [result]},
        ],
    }
    messages = json.loads(translate_messages(json.dumps(body, default=dict).encode(), "tiny").body)[
        "messages"
    ]
    assert messages[1]["content"] == "I add."
    assert messages[1]["reasoning_content"] == "Hm."
    assert messages[1]["tool_calls"][0]["id"] == messages[2]["tool_call_id"] == "call_1"
    assert json.loads(messages[1]["tool_calls"][0]["function"]["arguments"]) == {"a": 1}


def test_it_raises_what_broke_in_mid_stream(serve: Serve) -> None:
    data = stream(chunk({"content": "I"}), done=False) + b'data: {"error":{"message":"slot lost"}}\n\n'
    with (
        serve(data, b"text/event-stream") as client,
        client.messages.stream(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "?"}]
        ) as events,
        pytest.raises(anthropic.APIStatusError, match="slot lost"),
    ):
        events.until_done()


def test_it_raises_the_class_that_belongs_to_a_failure(serve: Serve) -> None:
    with (
        serve(b'{"detail":"No such model"}', status=404) as client,
        pytest.raises(anthropic.NotFoundError, match="No such model") as caught,
    ):
        client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "?"}])
    assert caught.value.type == "not_found_error"


def test_it_counts_tokens(serve: Serve) -> None:
    with serve(completion({"content": "x"}, "length", usage=USAGE)) as client:
        turns = [{"role": "user", "content": "Hi"}]
        assert client.messages.count_tokens(model="m", messages=turns).input_tokens == 12
