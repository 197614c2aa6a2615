"""A stream of chat completions becomes the events that Anthropic's clients know, in their order."""

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
    types,
)
from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation.anthropic.stream_builder import BLOCKS_MAX
from meshlight.gateway.translation.base import ResponseTranslator
from meshlight.gateway.translation.carried_state import SIGNATURE
from meshlight.gateway.translation.tool_call_pieces import CALLS_MAX

USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}}
TAIL = {"id": "chatcmpl-1", "choices": [], "usage": USAGE}


def asked(**fields: Any) -> ResponseTranslator:
    return back(stream=True, **fields)


def seen(*chunks: Json, **fields: Any) -> list[Json]:
    return events(output_of(asked(**fields), stream(*chunks)))


def fault(found: list[Json]) -> Json:
    assert found[-1]["type"] == "error"
    error: Json = found[-1]["error"]
    return error


def test_words_come_as_they_are_said() -> None:
    way = asked()
    way.begin(b"text/event-stream; charset=utf-8")
    assert way.content_type.startswith(b"text/event-stream")
    start = events(way.feed(stream(chunk({"role": "assistant", "content": ""}), done=False)))
    assert start == [
        {
            "type": "message_start",
            "message": {
                "id": "msg_1",
                "type": "message",
                "role": "assistant",
                "model": "claude",
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {
                    "input_tokens": 0,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "output_tokens": 0,
                },
            },
        }
    ]
    assert events(way.feed(stream(chunk({"content": "Hel"}), done=False))) == [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hel"}},
    ]
    assert types(events(way.feed(stream(chunk({"content": "lo"}), done=False)))) == ["delta"]
    assert way.feed(stream(chunk({}, "stop"), TAIL, done=False)) == b""
    assert events(way.feed(b"data: [DONE]\n\n")) == [
        {"type": "content_block_stop", "index": 0},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {
                "input_tokens": 4,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 8,
                "output_tokens": 5,
            },
        },
        {"type": "message_stop"},
    ]
    assert way.end() == b""
    assert way.broken("late") == b""


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_thoughts_words_and_calls_are_blocks_of_their_own(name: str) -> None:
    found = seen(
        chunk({name: "Hm"}),
        chunk({name: "."}),
        chunk({"content": "I add."}),
        chunk(call(0, id="call_a", name="add", type="function")),
        chunk(call(0, '{"a":')),
        chunk(call(0, " 1}")),
        chunk(call(1, id="call_b", name="mul")),
        chunk(call(1, "{}")),
        chunk({}, "tool_calls"),
    )
    assert blocks(found) == [
        {"type": "thinking", "thinking": "Hm.", "signature": SIGNATURE},
        {"type": "text", "text": "I add."},
        {"type": "tool_use", "id": "call_a", "name": "add", "input": {"a": 1}},
        {"type": "tool_use", "id": "call_b", "name": "mul", "input": {}},
    ]
    kinds = types(found)
    assert kinds.index("stop") < kinds.index("start", kinds.index("start") + 1)
    assert found[-2]["delta"]["stop_reason"] == "tool_use"


def test_a_call_is_over_before_the_next_begins() -> None:
    found = seen(
        chunk(call(0, '{"a":1}', id="a", name="f")),
        chunk(call(1, "{}", id="b", name="g")),
        chunk({"content": "done"}),
        chunk({}, "tool_calls"),
    )
    assert types(found)[1:-2] == ["start", "delta", "stop"] * 3


def test_calls_that_come_in_turns_stay_apart() -> None:
    found = seen(
        chunk(call(0, '{"a"', id="a", name="f")),
        chunk(call(1, '{"b"', id="b", name="g")),
        chunk(call(0, ":1}")),
        chunk(call(1, ":2}")),
        chunk({}, "tool_calls"),
    )
    assert [block["input"] for block in blocks(found)] == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("index", [0, None])
def test_servers_that_do_not_number_their_calls_are_understood(index: int | None) -> None:
    found = seen(
        chunk(call(index, '{"a":1}', id="a", name="f")),
        chunk(call(index, '{"a":2}', id="b", name="f")),
        chunk({}, "stop"),
    )
    assert [(block["id"], block["input"]["a"]) for block in blocks(found)] == [("a", 1), ("b", 2)]
    assert found[-2]["delta"]["stop_reason"] == "tool_use"


def test_calls_without_an_id_get_one_each() -> None:
    found = seen(
        chunk(call(None, "{}", id="", name="f")), chunk(call(None, "{}", name="f")), chunk({}, "tool_calls")
    )
    assert [block["id"] for block in blocks(found)] == ["toolu_1_0", "toolu_1_1"]


def test_arguments_may_be_an_object_and_may_be_missing() -> None:
    found = seen(
        chunk(call(0, {"a": [1, 2.50]}, id="a", name="f")),
        chunk(call(1, None, id="b", name="g")),
        chunk({}, "tool_calls"),
    )
    assert [block["input"] for block in blocks(found)] == [{"a": [1, 2.5]}, {}]


def test_a_call_waits_for_its_name() -> None:
    found = seen(chunk(call(0, '{"a":', id="a")), chunk(call(0, "1}", name="f")), chunk({}, "tool_calls"))
    assert blocks(found) == [{"type": "tool_use", "id": "a", "name": "f", "input": {"a": 1}}]


def test_mistrals_parts_are_thoughts_and_words() -> None:
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
    found = seen(chunk({"content": [thinking, {"type": "text", "text": "Yes."}]}), chunk({}, "stop"))
    assert [block["type"] for block in blocks(found)] == ["thinking", "text"]
    assert "neither" in fault(seen(chunk({"content": [{"type": "reference"}]})))["message"]


def test_thoughts_that_the_caller_does_not_want_are_not_told() -> None:
    found = seen(
        chunk({"reasoning": "secret"}),
        chunk({"content": "Yes."}),
        chunk({}, "stop"),
        thinking={"type": "adaptive", "display": "omitted"},
    )
    assert blocks(found)[0] == {"type": "thinking", "thinking": "", "signature": SIGNATURE}
    assert types(found)[1:5] == ["start", "ping", "delta", "stop"]


@pytest.mark.parametrize(
    ("finish", "reason"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("content_filter", "refusal"),
        ("STOP", "end_turn"),
        ("eos", "end_turn"),
    ],
)
def test_the_reason_to_stop_has_its_own_words(finish: str, reason: str) -> None:
    assert seen(chunk({"content": "a"}), chunk({}, finish))[-2]["delta"]["stop_reason"] == reason


def test_a_refusal_is_told_with_its_words() -> None:
    found = seen(chunk({"refusal": "I can't."}), chunk({}, "stop"))
    assert blocks(found) == [{"type": "text", "text": "I can't."}]
    assert found[-2]["delta"]["stop_reason"] == "refusal"


@pytest.mark.parametrize("field", ["stop_reason", "matched_stop"])
def test_the_stop_sequence_is_named_where_the_engine_names_it(field: str) -> None:
    last = chunk({}, "stop")
    last["choices"][0][field] = "END"
    delta = seen(chunk({"content": "a"}), last, stop_sequences=["END"])[-2]["delta"]
    assert delta == {"stop_reason": "stop_sequence", "stop_sequence": "END"}
    last["choices"][0][field] = 151645
    assert seen(last, stop_sequences=["END"])[-2]["delta"]["stop_reason"] == "end_turn"


def test_an_empty_answer_has_no_blocks() -> None:
    assert types(seen(chunk({}, "stop"))) == ["message_start", "message_delta", "message_stop"]


def test_counts_that_make_no_sense_break_nothing() -> None:
    last = chunk({}, "stop", usage={"prompt_tokens": "many", "completion_tokens": -1})
    usage = seen(chunk({"content": "a"}), last)[-2]["usage"]
    assert set(usage.values()) == {0}
    assert seen(chunk({}, "stop", usage=[1]))[-1]["type"] == "message_stop"


def test_signs_of_life_become_pings() -> None:
    data = (
        b": wait\n\n"
        + stream(chunk({"content": "a"}), done=False)
        + b": wait\n\n"
        + stream(chunk({}, "stop"))
    )
    assert types(events(output_of(asked(), data))) == [
        *("message_start", "start", "delta", "ping", "stop", "message_delta", "message_stop")
    ]


def test_a_stream_may_end_without_its_mark() -> None:
    data = stream(chunk({"content": "a"}), chunk({}, "stop"), TAIL, done=False)
    found = events(output_of(asked(), data.rstrip(b"\n")))
    assert found[-1] == {"type": "message_stop"}
    assert found[-2]["usage"]["output_tokens"] == 5


def test_a_stream_that_does_not_say_why_it_stopped_nor_that_it_is_done_is_broken() -> None:
    found = events(output_of(asked(), stream(chunk({"content": "a"}), done=False)))
    assert types(found) == ["message_start", "start", "delta", "error"]
    assert fault(found)["type"] == "api_error"


@pytest.mark.parametrize(
    ("data", "kind", "message"),
    [
        (b'data: {"error":{"message":"slot lost","code":500}}\n\n', "api_error", "slot lost"),
        (b'data: {"error":{"message":"too fast","code":429}}\n\n', "rate_limit_error", "too fast"),
        (b'data: {"object":"error","message":"gone","code":400}\n\n', "api_error", "gone"),
        (b'error: {"message":"old llama"}\n\n', "api_error", "old llama"),
        (b'event: error\ndata: {"error":"plain"}\n\n', "api_error", "plain"),
        (b"data: <html>\n\n", "api_error", "not JSON"),
        (b"data: " + b"[" * 10_000 + b"\n\n", "api_error", ""),
        (b'data: {"choices":[{"delta":{"content":5}}]}\n\n', "api_error", "content"),
    ],
)
def test_an_error_in_mid_stream_ends_it_as_one(data: bytes, kind: str, message: str) -> None:
    way = asked()
    way.begin(b"text/event-stream")
    assert types(events(way.feed(stream(chunk({"content": "a"}), done=False) + data))) == [
        *("message_start", "start", "delta")
    ]
    with pytest.raises(TranslationFailed) as caught:
        way.feed(stream(chunk({"content": "more"})))
    error = fault(events(way.broken(caught.value.title) or b""))
    assert error["type"] == kind
    assert message in error["message"]
    with pytest.raises(TranslationFailed):
        way.end()


def test_an_error_before_any_word_leaves_the_client_untouched() -> None:
    way = asked()
    way.begin(b"text/event-stream")
    with pytest.raises(TranslationFailed, match="no memory"):
        way.feed(b'data: {"error":{"message":"no memory"}}\n\n')


def test_nothing_at_all_is_no_answer() -> None:
    for content_type in (b"text/event-stream", JSON, b""):
        way = asked()
        way.begin(content_type)
        with pytest.raises(TranslationFailed):
            way.end()


@pytest.mark.parametrize("arguments", ["{", "[1]", '"a"', "{} {}"])
def test_arguments_that_are_no_object_break_the_answer_unless_it_was_cut(arguments: str) -> None:
    chunks = (chunk(call(0, arguments, id="a", name="f")),)
    assert "tool f" in fault(seen(*chunks, chunk({}, "tool_calls")))["message"]
    cut = seen(*chunks, chunk({}, "length"))
    assert cut[-2]["delta"]["stop_reason"] == "max_tokens"
    assert types(cut)[-3] == "stop"


@pytest.mark.parametrize("finish", ["error", "abort"])
def test_an_answer_that_the_server_gave_up_is_broken(finish: str) -> None:
    assert "gave the answer up" in fault(seen(chunk({"content": "a"}), chunk({}, finish)))["message"]


@pytest.mark.parametrize("content_type", [JSON, b"", b"text/plain"])
def test_a_server_that_does_not_stream_is_understood_too(content_type: bytes) -> None:
    message = {"content": "I add.", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]}
    data = completion(message, "tool_calls", usage=USAGE)
    found = events(output_of(asked(), data[:50], data[50:], content_type=content_type))
    assert blocks(found) == [
        {"type": "text", "text": "I add."},
        {"type": "tool_use", "id": "a", "name": "f", "input": {}},
    ]
    assert found[-2]["usage"]["input_tokens"] == 4


def test_a_server_that_forgets_to_say_that_it_streams_is_understood() -> None:
    data = b"\n" + stream(chunk({"content": "a"}), chunk({}, "stop"))
    assert events(output_of(asked(), data[:3], data[3:], content_type=b""))[-1]["type"] == "message_stop"


def test_half_an_emoji_breaks_no_stream() -> None:
    data = stream(chunk({"content": "XX"}), chunk({}, "stop"))
    calls = stream(chunk(call(0, '{"a":"XX"}', id="a", name="f")), chunk({}, "stop"))
    for half in (rb"\ud83d", b"\xf0\x9f"):
        called = blocks(events(output_of(asked(), calls.replace(b"XX", half.replace(b"\\", b"\\\\")))))
        assert len(called[0]["input"]["a"]) == 1
        assert blocks(events(output_of(asked(), data.replace(b"XX", half))))[0]["text"] == "\ufffd"


def test_only_the_first_answer_counts() -> None:
    other = chunk({"content": "other"})
    other["choices"][0]["index"] = 1
    assert blocks(seen(other, chunk({"content": "a"}), chunk({}, "stop")))[0]["text"] == "a"


def test_a_stream_without_ids_gets_one_that_is_its_own() -> None:
    first, second = (
        seen(chunk({"content": text}, id=given), chunk({}, "stop"))[0]["message"]["id"]
        for text, given in (("a", None), ("b", "\u00fc!"))
    )
    assert first != second
    assert first.startswith("msg_")
    assert len(first) > 20


def test_more_calls_than_anybody_makes_are_a_fault_and_those_before_are_told() -> None:
    found = seen(*(chunk(call(n, "{}", id=f"c{n}", name="f")) for n in range(CALLS_MAX + 1)))
    assert "more than 1000 tools" in fault(found)["message"]
    assert types(found).count("start") == CALLS_MAX


def test_an_answer_that_changes_without_end_between_texts_and_thoughts_is_a_fault() -> None:
    turns = [chunk({"content": "a"}), chunk({"reasoning": "b"})] * BLOCKS_MAX
    assert "changes more than" in fault(seen(*turns))["message"]


def test_long_arguments_between_texts_are_whole_in_the_end() -> None:
    pieces = [chunk(call(0, '{"a":"' + "b" * 10_000, id="a", name="f"))]
    for _ in range(50):
        pieces += [chunk(call(0, "}")), chunk({"content": "c"})]
    found = seen(*pieces, chunk(call(0, '"}')), chunk({}, "tool_calls"))
    assert blocks(found)[0]["input"] == {"a": "b" * 10_000 + "}" * 50}
