"""However the network cuts a stream, and whether it was asked for or not, Ollama's client learns the same."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.translation.anthropic.requests import Json, chunk, output_of, stream
from gateway.translation.anthropic.test_stream_builder_split import DELTAS, JSONS, LINES, TAIL, USAGE
from gateway.translation.ollama.requests import back, generate_back, lines


@given(st.lists(LINES, max_size=12), st.sampled_from([b"text/event-stream", b""]), st.data())
def test_any_split_of_the_stream_gives_the_client_the_same_lines(
    pieces: list[bytes], content_type: bytes, data: st.DataObject
) -> None:
    whole = b"".join(pieces)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=20)))
    split = [whole[a:b] for a, b in pairwise([0, *cuts, len(whole)])]
    once = output_of(back(), whole, content_type=content_type)
    assert output_of(back(), *split, content_type=content_type) == once
    lines(once)
    assert output_of(generate_back(), *split, content_type=content_type) == output_of(
        generate_back(), whole, content_type=content_type
    )
    assert output_of(back(stream=False), *split, content_type=content_type) == output_of(
        back(stream=False), whole, content_type=content_type
    )


@given(st.lists(DELTAS, max_size=12), st.sampled_from(["stop", "length", "tool_calls"]))
def test_text_thoughts_calls_and_numbers_are_kept(deltas: list[Json], finish: str) -> None:
    seen: set[int] = set()
    kept: list[Json] = []
    for delta in deltas:
        number = delta["tool_calls"][0]["index"] if "tool_calls" in delta else None
        if number is None or number not in seen:
            kept.append(delta)
        if number is not None:
            seen.add(number)
    data = stream(*(chunk(delta) for delta in kept), chunk({}, finish), TAIL)
    found = lines(output_of(back(), data))
    whole = json.loads(output_of(back(stream=False), data))
    message = [line["message"] for line in found]
    calls = [call for message in message for call in message.get("tool_calls", ())]
    texts = "".join(delta.get("content", "") for delta in kept)
    assert "".join(message["content"] for message in message) == whole["message"]["content"] == texts
    thoughts = "".join(delta.get("reasoning", "") for delta in kept)
    assert "".join(message.get("thinking", "") for message in message) == thoughts
    assert whole["message"].get("thinking", "") == thoughts
    assert calls == whole["message"].get("tool_calls", [])
    wanted = [delta["tool_calls"][0]["function"] for delta in kept if "tool_calls" in delta]
    assert [call["function"]["arguments"] for call in calls] == [
        json.loads(one["arguments"]) for one in wanted
    ]
    for last in (found[-1], whole):
        assert last["done_reason"] == ("length" if finish == "length" else "stop")
        assert (last["prompt_eval_count"], last["eval_count"]) == (
            USAGE["prompt_tokens"],
            USAGE["completion_tokens"],
        )


@given(
    st.lists(JSONS | st.fixed_dictionaries({"choices": st.lists(JSONS, max_size=2)}), max_size=4),
    st.booleans(),
)
def test_no_json_breaks_more_than_its_own_answer(values: list[object], is_stream: bool) -> None:
    data = b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values)
    output_of(back(stream=is_stream), data)
    output_of(back(stream=is_stream), json.dumps(values[0]).encode() if values else b"", content_type=b"")


@given(st.binary(max_size=60), st.booleans())
def test_no_bytes_break_more_than_their_own_answer(junk: bytes, is_stream: bool) -> None:
    data = stream(chunk({"content": "XX"}), chunk({}, "stop")).replace(b"XX", junk)
    output_of(back(stream=is_stream), data)
    output_of(back(stream=is_stream), junk, content_type=b"")
