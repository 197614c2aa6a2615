"""Token counts are read from answers that pass by, and a model's text can't forge them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.gateway.inference.streaming import UsageTap, read_timings


def read(*pieces: bytes) -> tuple[int, int] | None:
    tap = UsageTap()
    for piece in pieces:
        tap.feed(piece)
    return tap.read()


def test_openais_and_anthropics_words_are_understood() -> None:
    assert read(b'{"usage":{"prompt_tokens":7,"completion_tokens":3,"total_tokens":10}}') == (7, 3)
    assert read(b'{"usage": {"input_tokens": 7, "output_tokens": 3}}') == (7, 3)


@pytest.mark.parametrize(
    "usage",
    [
        b'{"prompt_tokens":7,"total_tokens":10,"completion_tokens":3}',
        b'{"completion_tokens":3,"prompt_tokens":7,"total_tokens":10,"prompt_tokens_details":{"cached_tokens":5}}',
        b'{"prompt_tokens_details":{"cached_tokens":5},"prompt_tokens":7,"completion_tokens":3}',
        b'{\n    "prompt_tokens": 7,\n    "completion_tokens" :\t3\r\n  }',
        b'{"total_tokens":10,"input_tokens":7,"output_tokens":3}',
        b'{"prompt_tokens":7,"output_tokens":3}',
    ],
)
def test_the_counts_are_found_in_any_order(usage: bytes) -> None:
    assert read(b'{"id":"1","usage":' + usage + b',"timings":{"prompt_n":1}}') == (7, 3)
    assert read(b'{"usage" : ' + usage + b"}") == (7, 3)


@pytest.mark.parametrize(
    "usage", [b'{"prompt_tokens":"7"}', b"{}", b"null", b'{"prompt_tokens":-7}', b'"usage"', b""]
)
def test_what_is_no_count_is_none(usage: bytes) -> None:
    assert read(b'{"usage":' + usage) is None


def test_usage_before_a_megabyte_of_vectors_is_found() -> None:
    assert read(b'{"usage":{"prompt_tokens":7},"data":[' + b"0.1," * 250_000 + b"1]}") == (7, 0)


def test_usage_at_the_head_is_found_when_it_comes_byte_by_byte() -> None:
    head = b'{"usage":{"prompt_tokens":7},"data":['
    assert read(*[bytes((byte,)) for byte in head], b"0.1," * 250_000, b"1]}") == (7, 0)


def test_the_last_usage_of_a_stream_counts() -> None:
    first = b'data: {"usage":{"prompt_tokens":7,"completion_tokens":1}}\n\n'
    last = b'data: {"usage":{"prompt_tokens":7,"completion_tokens":9}}\n\ndata: [DONE]\n\n'
    assert read(first, *[b'data: {"x":1}\n\n'] * 500, last) == (7, 9)


def test_no_usage_is_no_count() -> None:
    assert read(b'data: {"usage":null}\n\n') is None
    assert read() is None


def test_text_that_looks_like_usage_is_not_counted() -> None:
    text = json.dumps({"content": '"usage":{"prompt_tokens":999,"completion_tokens":999}'}).encode()
    assert read(text) is None


@given(st.lists(st.integers(1, 40), max_size=30))
def test_where_the_stream_is_cut_changes_nothing(cuts: list[int]) -> None:
    whole = b'data: {"a":1}\n\n' * 20 + b'data: {"usage":{"prompt_tokens":12,"completion_tokens":34}}\n\n'
    pieces, at = [], 0
    for cut in cuts:
        pieces.append(whole[at : at + cut])
        at += cut
    pieces.append(whole[at:])
    assert read(*[piece for piece in pieces if piece]) == (12, 34)


def test_an_anthropic_stream_counts_its_prompt_at_the_start_and_the_answer_at_the_end() -> None:
    start = (
        b'event: message_start\ndata: {"type":"message_start","message":{"content":[],'
        b'"usage":{"input_tokens":25,"cache_read_input_tokens":9,"output_tokens":1}}}\n\n'
    )
    delta = b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"hi"}}\n\n'
    end = b'data: {"type":"message_delta","delta":{},"usage":{"output_tokens":15}}\n\n'
    assert read(start, delta, end) == (25, 15)
    assert read(start, *[delta] * 1_000, end) == (25, 15)


@pytest.mark.parametrize("deltas", [50, 1_000])
def test_an_end_without_counts_leaves_those_of_the_start(deltas: int) -> None:
    start = b'data: {"type":"message_start","message":{"usage":{"input_tokens":25,"output_tokens":1}}}\n\n'
    delta = b'data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"hi"}}\n\n'
    end = b'data: {"type":"message_delta","delta":{},"usage":{}}\n\n'
    assert read(start, *[delta] * deltas, end) == (25, 1)


def test_ollamas_counts_are_found_even_where_it_remembers_the_prompt() -> None:
    assert read(b'{"done":true,"prompt_eval_count":7,"eval_count":3,"eval_duration":9}\n') == (7, 3)
    assert read(b'{"done":true,"eval_count":3,"eval_duration":9}\n') == (0, 3)


def streamed(tokens: int, end: str = "\n", size: int = 1) -> bytes:
    chunk = {"choices": [{"index": 0, "delta": {"content": "x" * size}}], "created": 1, "model": "m"}
    events = [{"role": "assistant"}, *[chunk] * tokens, {"choices": [{"finish_reason": "stop"}]}]
    lines = [f"data: {json.dumps(event)}" for event in events]
    return f"{end}{end}".join([*lines, "data: [DONE]", ""]).encode()


def estimate(body: bytes, piece: int = 1000) -> int:
    tap = UsageTap()
    for at in range(0, len(body), piece):
        tap.feed(body[at : at + piece])
    assert tap.read() is None
    return tap.estimate()


def test_a_stream_without_usage_is_estimated_by_its_events() -> None:
    assert estimate(streamed(40)) == 40
    assert estimate(streamed(40, "\r\n")) == 40
    assert abs(estimate(streamed(5_000, size=4)) - 5_000) < 150
    assert abs(estimate(streamed(5_000, size=4), piece=100_000) - 5_000) < 150
    assert estimate(streamed(1)) == 1


def test_what_is_no_event_stream_is_not_estimated() -> None:
    assert estimate(b"") == 0
    assert estimate(b'{"choices": []}' * 1000) == 0


@pytest.mark.parametrize(
    ("tail", "found"),
    [
        (
            (
                b'{"usage":{"prompt_tokens":9},"timings":{"cache_n":4,"prompt_n":500,"prompt_ms":1250.5,'
                b'"prompt_per_second":1.0,"predicted_n":20,"predicted_ms":400}}'
            ),
            ((500, 1.2505), (20, 0.4)),
        ),
        (
            (
                b'{"done":true,"prompt_eval_count":300,"prompt_eval_duration":2000000000,"eval_count":10,'
                b'"eval_duration":500000000}\n'
            ),
            ((300, 2.0), (10, 0.5)),
        ),
        (b'{"done":true,"eval_count":10,"eval_duration":5}', None),
        (b'{"timings":{"prompt_n":5}}', None),
        (b'{"timings":{"prompt_n":-5,"prompt_ms":"x","predicted_n":1,"predicted_ms":1}}', None),
        (b'{"text":"say \\"timings\\" aloud"}', None),
    ],
)
def test_what_the_engine_measured_is_read(
    tail: bytes, found: tuple[tuple[int, float], tuple[int, float]] | None
) -> None:
    assert read_timings(tail) == found
