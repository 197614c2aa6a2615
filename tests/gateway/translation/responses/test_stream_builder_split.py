"""However the network cuts a stream, and whether it was asked for or not, the client learns the same."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.translation.anthropic.requests import Json, chunk, events, output_of, stream
from gateway.translation.anthropic.test_stream_builder_split import DELTAS, JSONS, LINES, USAGE
from gateway.translation.responses.requests import back, output


@given(st.lists(LINES, max_size=12), st.sampled_from([b"text/event-stream", b""]), st.data())
def test_any_split_of_the_stream_gives_the_client_the_same_bytes(
    lines: list[bytes], content_type: bytes, data: st.DataObject
) -> None:
    whole = b"".join(lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=20)))
    edges = [0, *cuts, len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(edges)]
    once = output_of(back(stream=True), whole, content_type=content_type)
    assert output_of(back(stream=True), *pieces, content_type=content_type) == once
    assert output_of(back(), *pieces, content_type=content_type) == output_of(
        back(), whole, content_type=content_type
    )


@given(st.lists(DELTAS, max_size=12), st.booleans())
def test_a_stream_and_a_whole_response_say_the_same(deltas: list[Json], with_summary: bool) -> None:
    seen_calls = set()
    kept = []
    for delta in deltas:
        number = delta["tool_calls"][0]["index"] if "tool_calls" in delta else None
        if number is None or number not in seen_calls:
            kept.append(delta)
        seen_calls.add(number)
    fields = {"reasoning": {"summary": "auto"}} if with_summary else {}
    data = stream(*(chunk(delta) for delta in kept), chunk({}, "stop", usage=USAGE))
    found = events(output_of(back(stream=True, **fields), data))
    whole = json.loads(output_of(back(**fields), data))
    assert found[-1]["response"] == whole
    assert output(found) == whole["output"]
    texts = [delta["content"] for delta in kept if "content" in delta]
    messages = [item for item in whole["output"] if item["type"] == "message"]
    assert "".join(part["text"] for item in messages for part in item["content"]) == "".join(texts)


@given(
    st.lists(JSONS | st.fixed_dictionaries({"choices": st.lists(JSONS, max_size=2)}), max_size=4),
    st.booleans(),
)
def test_no_json_breaks_more_than_its_own_answer(values: list[object], is_stream: bool) -> None:
    lines = b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values)
    output_of(back(stream=is_stream), lines)
    output_of(back(stream=is_stream), json.dumps(values[0]).encode() if values else b"", content_type=b"")
