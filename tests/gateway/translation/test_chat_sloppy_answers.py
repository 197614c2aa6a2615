"""What small servers really send is understood as what they mean; what is broken off stays broken off."""

import json
from typing import Any

import pytest

from gateway.translation.anthropic.requests import (
    JSON,
    Json,
    back,
    blocks,
    call,
    chunk,
    completion,
    events,
    output_of,
    stream,
)
from gateway.translation.ollama.requests import back as ollama_back
from gateway.translation.ollama.requests import output_lines

CITY = {"city": "Seoul"}
TEXT = '{"city":"Seoul"}'


def calls_of(*deltas: Json, finish: str | None = "tool_calls") -> tuple[list[Any], list[Any]]:
    """Return name and arguments of each call as the clients of both protocols get them."""
    data = stream(*(chunk(delta) for delta in deltas), chunk({}, finish))
    seen = events(output_of(back(stream=True), *(bytes([byte]) for byte in data)))
    assert seen[-2]["delta"]["stop_reason"] == "tool_use"
    made = [(block["name"], block["input"]) for block in blocks(seen) if block["type"] == "tool_use"]
    lines = output_lines(ollama_back(), data)
    functions = [tool["function"] for line in lines for tool in line["message"].get("tool_calls", ())]
    return made, [(function["name"], function["arguments"]) for function in functions]


@pytest.mark.parametrize(
    "deltas",
    [
        (call(0, "", id="a1", name="f"), call(0, '{"city":', id="b2"), call(0, '"Seoul"}', id="c3")),
        (
            call(0, "", id="a1", name="f"),
            call(0, '{"city":', id="b2", name="f"),
            call(0, '"Seoul"}', name="f"),
        ),
        (call(0, '{"ci', id="a1", name="f"), call(0, 'ty":"Seoul"}', id="b2", name="f")),
        (call("0", "", id=1, name="f"), call("0", '{"city":', id=2), call(0, '"Seoul"}', id=3)),
        (call(None, "", id="a1", name="f"), call(None, '{"city":', id="b2"), call(None, '"Seoul"}')),
    ],
    ids=["new-ids", "new-ids-and-the-name", "half-a-call", "numbers-for-text", "no-index"],
)
def test_pieces_of_one_call_stay_together_whatever_their_ids(deltas: tuple[Json, ...]) -> None:
    assert calls_of(*deltas) == ([("f", CITY)], [("f", CITY)])


@pytest.mark.parametrize("index", [0, "0", None])
def test_calls_that_are_all_called_0_are_still_two(index: Any) -> None:
    two = (call(index, TEXT, id="a", name="f"), call(index, TEXT, id="b", name="f"))
    assert calls_of(*two) == ([("f", CITY)] * 2,) * 2


@pytest.mark.parametrize(
    "pieces", [("{}", TEXT), ("{}", "{", '"city":"Seoul"}'), ("{", "}", TEXT), ("{} ", TEXT), ("{}" + TEXT,)]
)
def test_an_empty_object_before_the_real_arguments_is_left_out(pieces: tuple[str, ...]) -> None:
    first, *rest = pieces
    made = (call(0, first, id="a", name="f"), *(call(0, piece) for piece in rest))
    assert calls_of(*made) == ([("f", CITY)], [("f", CITY)])


@pytest.mark.parametrize("arguments", ["{}", "", "{ }"])
def test_a_call_without_arguments_has_none(arguments: str) -> None:
    assert calls_of(call(0, arguments, id="a", name="f")) == ([("f", {})], [("f", {})])


@pytest.mark.parametrize("mark", [b"data: [DONE]\n\n", b"data: [DONE] \n\n", b"data:[DONE]"])
def test_a_stream_that_is_done_has_ended_though_it_never_says_why(mark: bytes) -> None:
    data = stream(chunk({"content": "Hello"}), done=False) + mark
    seen = events(output_of(back(stream=True), data))
    assert seen[-2]["delta"]["stop_reason"] == "end_turn"
    assert seen[-1]["type"] == "message_stop"
    assert output_lines(ollama_back(), data)[-1]["done_reason"] == "stop"
    assert calls_of(call(0, TEXT, id="a", name="f"), finish=None) == ([("f", CITY)], [("f", CITY)])


def test_half_a_call_is_no_normal_end_though_the_stream_is_done() -> None:
    data = stream(chunk(call(0, '{"ci', id="a", name="f")))
    assert events(output_of(back(stream=True), data))[-1]["type"] == "error"
    assert "error" in output_lines(ollama_back(), data)[-1]


def test_a_stream_that_neither_is_done_nor_says_why_is_broken_off() -> None:
    data = stream(chunk({"content": "Hello"}), done=False)
    assert events(output_of(back(stream=True), data))[-1]["type"] == "error"
    assert "error" in output_lines(ollama_back(), data)[-1]


@pytest.mark.parametrize("finish", [None, 0, ""])
@pytest.mark.parametrize("ident", [123, None, "x"])
def test_a_whole_answer_need_not_say_why_it_ended(finish: Any, ident: Any) -> None:
    data = completion({"content": "Hello"}, finish, id=ident)
    found = json.loads(output_of(back(), data, content_type=JSON))
    assert (found["content"][0]["text"], found["stop_reason"]) == ("Hello", "end_turn")
    assert isinstance(found["id"], str)
    way = ollama_back(stream=False)
    way.begin(JSON)
    assert json.loads(way.feed(data) + way.end())["done_reason"] == "stop"


@pytest.mark.parametrize("index", ["0", 0, None])
def test_an_answer_numbered_by_text_is_the_first(index: Any) -> None:
    data = stream(
        {"id": 7, "choices": [{"index": index, "delta": {"content": "Hello"}, "finish_reason": "stop"}]}
    )
    assert blocks(events(output_of(back(stream=True), data))) == [{"type": "text", "text": "Hello"}]
    assert output_lines(ollama_back(), data)[0]["message"]["content"] == "Hello"
