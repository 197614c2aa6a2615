"""A whole answer, a count, and a failure come back in Anthropic's words."""

import json

import pytest

from gateway.translation.anthropic.requests import (
    EVENTS,
    JSON,
    Json,
    ask,
    back,
    chunk,
    completion,
    output_of,
    stream,
)
from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.inference.streaming import UsageTap
from meshlight.gateway.translation import chat as answer_events
from meshlight.gateway.translation import tool_call_pieces
from meshlight.gateway.translation.anthropic import writer as messages_writer
from meshlight.gateway.translation.anthropic.api import translate_count
from meshlight.gateway.translation.base import ResponseTranslator
from meshlight.gateway.translation.carried_state import SIGNATURE

USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}}


def whole(message: Json, finish: str = "stop", **fields: object) -> Json:
    found: Json = json.loads(output_of(back(), completion(message, finish, **fields), content_type=JSON))
    return found


def counter() -> ResponseTranslator:
    return translate_count(ask(), "tiny").back


def test_a_message_has_all_that_clients_look_for() -> None:
    assert whole({"content": "Hello"}, usage=USAGE) == {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [{"type": "text", "text": "Hello"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 4,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 8,
            "output_tokens": 5,
        },
    }
    assert back().content_type == b"application/json"


def test_the_counts_of_a_message_are_not_those_that_an_input_names() -> None:
    arguments = '{"usage":{"input_tokens":1,"output_tokens":999}}'
    message = {"tool_calls": [{"id": "c", "function": {"name": "f", "arguments": arguments}}]}
    answer = output_of(back(), completion(message, "tool_calls", usage=USAGE), content_type=JSON)
    assert UsageTap(answer).read() == (4, 5)


def test_thoughts_words_and_calls_are_blocks() -> None:
    message = {
        "reasoning_content": "Hm.",
        "content": "I add.",
        "tool_calls": [
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"n": 1.50}'}},
            {"id": "a", "type": "function", "function": {"name": "f", "arguments": ""}},
        ],
    }
    found = whole(message, "tool_calls")
    assert found["content"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": SIGNATURE},
        {"type": "text", "text": "I add."},
        {"type": "tool_use", "id": "a", "name": "f", "input": {"n": 1.5}},
        {"type": "tool_use", "id": "a", "name": "f", "input": {}},
    ]
    assert found["stop_reason"] == "tool_use"
    assert b'"input":{"n": 1.50}' in output_of(back(), completion(message), content_type=JSON)


def test_half_a_call_that_the_limit_cut_off_is_left_out() -> None:
    calls = [{"id": "a", "function": {"name": "f", "arguments": '{"n'}}]
    found = whole({"content": "I", "tool_calls": calls}, "length")
    assert found["content"] == [{"type": "text", "text": "I"}]
    assert found["stop_reason"] == "max_tokens"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no answer"),
        (b"<html></html>", "not JSON"),
        (b"{}", "no answer"),
        (b'{"choices":[]}', "no answer"),
        (b'{"error":{"message":"no memory"}}', "no memory"),
        (b'{"error":"no memory"}', "no memory"),
        (b'{"usage":' + b"[" * 100_000, "nested"),
        (completion({"tool_calls": [{"function": {"arguments": "{}"}}]}), "without saying which"),
        (completion({"tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}), "not a JSON object"),
    ],
)
def test_what_is_no_answer_is_told_in_words(body: bytes, why: str) -> None:
    way = back()
    way.begin(JSON)
    way.feed(body)
    with pytest.raises(TranslationFailed, match=why):
        way.end()
    assert way.broken("so") is None


def test_a_stream_to_one_who_asked_for_a_message_is_gathered() -> None:
    data = stream(chunk({"content": "Hel"}), chunk({"content": "lo"}), chunk({}, "stop"))
    found = json.loads(output_of(back(), data[:40], data[40:], content_type=EVENTS))
    assert found["content"] == [{"type": "text", "text": "Hello"}]


def test_a_message_is_told_only_when_it_is_whole() -> None:
    way = back()
    way.begin(JSON)
    data = completion({"content": "Hello"})
    assert way.feed(data[:30]) == way.feed(data[30:]) == b""
    assert json.loads(way.end())["content"]


def test_answers_without_measure_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_events, "ANSWER_MAX", 50)
    monkeypatch.setattr(tool_call_pieces, "ARGUMENTS_MAX", 50)
    monkeypatch.setattr(messages_writer, "HELD_MAX", 50)
    for way in (back(), counter()):
        way.begin(JSON)
        with pytest.raises(TranslationFailed, match="more than"):
            way.feed(b" " * 51)
    arguments = {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": "x" * 51}}]}
    for delta, is_stream in ((arguments, True), ({"content": "x" * 51}, False)):
        way = back(stream=is_stream)
        way.begin(EVENTS)
        with pytest.raises(TranslationFailed, match="more than"):
            way.feed(way.feed(stream(chunk(delta), done=False)))


def test_the_tokens_of_a_prompt_are_counted() -> None:
    assert output_of(counter(), completion({"content": "x"}, "length", usage=USAGE)) == b'{"input_tokens":12}'
    assert counter().content_type == b"application/json"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"usage":{"prompt_tokens":"12"}}', b'{"error":{"message":"no"}}', b"[" * 100_000]
)
def test_a_server_that_does_not_count_is_told_of(body: bytes) -> None:
    way = counter()
    way.feed(body)
    with pytest.raises(TranslationFailed):
        way.end()
    assert way.broken("so") is None


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "not_found_error"),
        (413, "request_too_large"),
        (422, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "api_error"),
        (503, "overloaded_error"),
        (529, "overloaded_error"),
    ],
)
def test_a_failure_keeps_its_message_and_gets_anthropics_type(status: int, kind: str) -> None:
    for way in (back(), back(stream=True), counter()):
        assert json.loads(way.error(status, b'{"error":{"message":"context too long"}}')) == {
            "type": "error",
            "error": {"type": kind, "message": "context too long"},
        }
