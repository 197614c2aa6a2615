"""An answer of chat completions comes back in Ollama's words."""

import json

import pytest

from gateway.translation.anthropic.requests import JSON, Json, call, chunk, completion, output_of, stream
from gateway.translation.ollama.requests import MADE_AT, back, lines, output_lines, ticking
from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation import chat as answer_events
from meshlight.gateway.translation import tool_call_pieces
from meshlight.gateway.translation.ollama import response as ollama_back

USAGE = {"prompt_tokens": 12, "completion_tokens": 5}
TAIL: Json = {"choices": [], "usage": USAGE}


def test_each_piece_is_a_line_and_the_last_one_has_the_numbers() -> None:
    data = stream(
        chunk({"role": "assistant"}),
        chunk({"content": "A"}),
        chunk({"content": "B"}),
        chunk({}, "stop"),
        TAIL,
    )
    head = {"model": "llama3:latest", "created_at": MADE_AT}
    assert output_lines(back(), data) == [
        head | {"message": {"role": "assistant", "content": "A"}, "done": False},
        head | {"message": {"role": "assistant", "content": "B"}, "done": False},
        head
        | {"message": {"role": "assistant", "content": ""}, "done": True, "done_reason": "stop"}
        | {"prompt_eval_count": 12, "eval_count": 5},
    ]
    assert back().content_type == b"application/x-ndjson"


def test_durations_are_those_that_were_measured() -> None:
    data = stream(*(chunk({"content": text}) for text in "ABC"), chunk({}, "stop"), TAIL)
    last = output_lines(back(clock=ticking()), data)[-1]
    assert last["eval_duration"] == 2_000_000_000
    assert last["total_duration"] == 4_000_000_000
    assert not {"load_duration", "prompt_eval_duration"} & last.keys()


def test_llama_cpp_knows_its_durations_better() -> None:
    timings = {"prompt_ms": 1.5, "predicted_ms": 20.25}
    found = json.loads(
        output_of(back(stream=False), completion({"content": "A"}, timings=timings), content_type=JSON)
    )
    assert (found["prompt_eval_duration"], found["eval_duration"]) == (1_500_000, 20_250_000)


def test_without_a_stream_it_is_one_object() -> None:
    message = {
        "reasoning_content": "Hm.",
        "content": "I add.",
        "tool_calls": [call(id="a", name="f", arguments='{"n":\n1.50}')["tool_calls"][0]],
    }
    way = back(stream=False)
    assert way.content_type == b"application/json"
    data = output_of(way, completion(message, "tool_calls", usage=USAGE), content_type=JSON)
    found = json.loads(data)
    assert found["message"] == {
        "role": "assistant",
        "content": "I add.",
        "thinking": "Hm.",
        "tool_calls": [{"id": "a", "function": {"index": 0, "name": "f", "arguments": {"n": 1.5}}}],
    }
    assert b'{"n":1.50}' in data
    assert (found["done"], found["done_reason"]) == (True, "stop")


def test_calls_come_whole_in_one_line() -> None:
    data = stream(
        chunk({"content": "I add."}),
        chunk(call(0, '{"a"', id="x", name="add")),
        chunk(call(0, ":\n 1}")),
        chunk(call(1, "", name="now")),
        chunk({}, "tool_calls"),
    )
    text, calls, last = output_lines(back(), data)
    assert text["message"]["content"] == "I add."
    first, second = calls["message"]["tool_calls"]
    assert first == {"id": "x", "function": {"index": 0, "name": "add", "arguments": {"a": 1}}}
    assert second["function"] == {"index": 1, "name": "now", "arguments": {}}
    assert second["id"]
    assert last["done_reason"] == "stop"


def test_calls_that_nobody_numbers_are_told_apart() -> None:
    data = stream(
        chunk(call(None, "{}", name="f")),
        chunk(call(None, "{}", name="f")),
        chunk(call(0, "{}", id="a", name="g")),
        chunk(call(0, "{}", id="b", name="g")),
        chunk({}, "stop"),
    )
    [calls, _] = output_lines(back(), data)
    assert [one["function"]["name"] for one in calls["message"]["tool_calls"]] == ["f", "f", "g", "g"]
    assert len({one["id"] for one in calls["message"]["tool_calls"]}) == 4


def test_half_a_call_is_left_out_where_the_limit_cut_it_off_and_a_fault_elsewhere() -> None:
    half = chunk(call(0, '{"a', id="x", name="add"))
    [last] = output_lines(back(), stream(half, chunk({}, "length")))
    assert last["done_reason"] == "length"
    [fault] = output_lines(back(), stream(half, chunk({}, "tool_calls")))
    assert "not a JSON object" in fault["error"]


def test_thoughts_that_nobody_wanted_are_left_out() -> None:
    data = stream(chunk({"reasoning": "Hm."}), chunk({"content": "A"}), chunk({}, "stop"))
    assert output_lines(back(), data)[0]["message"] == {"role": "assistant", "content": "", "thinking": "Hm."}
    assert len(output_lines(back(think=False), data)) == 2


def test_parts_and_refusals_are_told_as_text() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]},
        {"type": "text", "text": "A"},
    ]
    message = output_lines(back(), stream(chunk({"content": parts}), chunk({}, "stop")))[0]["message"]
    assert (message["thinking"], message["content"]) == ("Hm.", "A")
    found = output_lines(back(), stream(chunk({"refusal": "No."}), chunk({}, "content_filter")))
    assert (found[0]["message"]["content"], found[1]["done_reason"]) == ("No.", "content_filter")


def test_chances_come_back() -> None:
    one = {"token": "A", "logprob": -0.5, "bytes": [65]}
    logprobs = {"content": [one | {"top_logprobs": [one, {"token": 3}]}, {"logprob": 1}, 4]}
    piece = {"choices": [{"index": 0, "delta": {"content": "A"}, "logprobs": logprobs}]}
    data = stream(piece, chunk({}, "stop"))
    assert output_lines(back(logprobs=True), data)[0]["logprobs"] == [one | {"top_logprobs": [one]}]
    whole = json.loads(output_of(back(logprobs=True, stream=False), data))
    assert whole["logprobs"] == [one | {"top_logprobs": [one]}]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b'data: {"error":{"message":"slot lost"}}\n\n', "slot lost"),
        (b"event: error\ndata: out of memory\n\n", "out of memory"),
        (b"data: nonsense\n\n", "not JSON"),
        (b"", "in the middle"),
        (stream(chunk({}, "abort")), "gave the answer up"),
    ],
)
def test_what_breaks_in_mid_stream_ends_with_a_line_that_says_so(data: bytes, why: str) -> None:
    first, last = output_lines(back(), stream(chunk({"content": "A"}), done=False) + data)
    assert first["message"]["content"] == "A"
    assert why in last["error"]


def test_a_broken_connection_is_told_unless_all_was_said() -> None:
    way = back()
    way.begin(b"text/event-stream")
    way.feed(stream(chunk({"content": "A"}), done=False))
    assert lines(way.broken("It went away.") or b"") == [{"error": "It went away."}]
    way.feed(stream(chunk({}, "stop")))
    assert way.broken("It went away.") == b""
    assert back(stream=False).broken("It went away.") is None


@pytest.mark.parametrize("body", [b"", b"<html></html>", b"{}", b'{"error":"no"}'])
def test_what_is_no_answer_is_a_fault(body: bytes) -> None:
    way = back(stream=False)
    way.begin(b"application/json")
    way.feed(body)
    with pytest.raises(TranslationFailed):
        way.end()


def test_what_comes_after_the_end_is_not_heard() -> None:
    data = stream(chunk({"content": "A"}), chunk({}, "stop"))
    assert output_lines(back(), data + data) == output_lines(back(), data)


def test_a_content_part_of_another_kind_is_a_fault() -> None:
    [fault] = output_lines(back(), stream(chunk({"content": [{"type": "image"}]})))
    assert "neither text nor thoughts" in fault["error"]


def test_only_the_first_of_several_answers_is_told() -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "B"}}]}
    assert (
        output_lines(back(), stream(other, chunk({"content": "A"}), chunk({}, "stop")))[0]["message"][
            "content"
        ]
        == "A"
    )


def test_there_are_limits_to_what_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer_events, "ANSWER_MAX", 10)
    monkeypatch.setattr(ollama_back, "HELD_MAX", 10)
    monkeypatch.setattr(tool_call_pieces, "CALLS_MAX", 1)
    for data in (
        b"{" * 11,
        stream(chunk({"content": "A" * 11})),
        stream(*(chunk(call(n, name="f")) for n in (0, 1))),
    ):
        way = back(stream=False)
        way.begin(b"")
        with pytest.raises(TranslationFailed, match="more than"):
            way.feed(data)


def test_a_failure_keeps_the_backends_words() -> None:
    assert json.loads(back().error(400, b'{"error":{"message":"too long"}}')) == {"error": "too long"}
    assert "502" in json.loads(back().error(502, b"<html>"))["error"]
