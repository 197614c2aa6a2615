"""However the network cuts a stream, and whether it was asked for or not, the client learns the same."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.translation.anthropic.requests import Json, back, blocks, call, chunk, events, output_of, stream

USAGE = {"prompt_tokens": 12, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}}
TAIL = {"id": "chatcmpl-1", "choices": [], "usage": USAGE}

DELTAS = st.one_of(
    st.text(max_size=8).map(lambda text: {"content": text}),
    st.text(max_size=8).map(lambda text: {"reasoning": text}),
    st.builds(
        lambda index, value: call(index, json.dumps({"v": value}), id=f"c{index}", name=f"t{index}"),
        st.integers(0, 3),
        st.text(max_size=5),
    ),
)
LINES = st.one_of(
    DELTAS.map(lambda delta: stream(chunk(delta), done=False)),
    st.sampled_from(
        [
            *(
                b": ping\n\n",
                b"\r\n",
                b"data: [DONE]\n\n",
                b"data: {}\n\n",
                b"event: error\ndata: x\n\n",
                b"data: ?\n\n",
            ),
            *(stream(chunk({}, finish), done=False) for finish in ("stop", "length", "tool_calls")),
            stream(TAIL, done=False),
        ]
    ),
)


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


@given(st.lists(DELTAS, max_size=12))
def test_a_stream_and_a_whole_message_say_the_same(deltas: list[Json]) -> None:
    seen_calls = set()
    kept = []
    for delta in deltas:
        number = delta["tool_calls"][0]["index"] if "tool_calls" in delta else None
        if number is None or number not in seen_calls:
            kept.append(delta)
        seen_calls.add(number)
    data = stream(*(chunk(delta) for delta in kept), chunk({}, "stop", usage=USAGE))
    found = events(output_of(back(stream=True), data))
    whole = json.loads(output_of(back(), data))
    assert blocks(found) == whole["content"]
    assert found[-2]["delta"]["stop_reason"] == whole["stop_reason"]
    assert found[-2]["usage"] == whole["usage"]
    texts = [delta["content"] for delta in kept if "content" in delta]
    assert "".join(block["text"] for block in whole["content"] if block["type"] == "text") == "".join(texts)


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                [
                    *(
                        "choices",
                        "delta",
                        "message",
                        "content",
                        "tool_calls",
                        "function",
                        "name",
                        "arguments",
                    ),
                    *(
                        "index",
                        "id",
                        "finish_reason",
                        "usage",
                        "error",
                        "object",
                        "prompt_tokens",
                        "reasoning",
                    ),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)


@given(
    st.lists(JSONS | st.fixed_dictionaries({"choices": st.lists(JSONS, max_size=2)}), max_size=4),
    st.booleans(),
)
def test_no_json_breaks_more_than_its_own_answer(values: list[object], is_stream: bool) -> None:
    lines = b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values)
    output_of(back(stream=is_stream), lines)
    output_of(back(stream=is_stream), json.dumps(values[0]).encode() if values else b"", content_type=b"")


@given(st.binary(max_size=60), st.booleans())
def test_no_bytes_break_more_than_their_own_answer(junk: bytes, is_stream: bool) -> None:
    data = stream(chunk(call(0, "XX", id="XX", name="f")), chunk({"content": "XX"}), chunk({}, "stop"))
    output_of(back(stream=is_stream), data.replace(b"XX", junk))
    output_of(back(stream=is_stream), junk, content_type=b"")
