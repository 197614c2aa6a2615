"""How an answer is read, however it is cut."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.api_client.chat import LINE_MAX, ChatAnswer, Piece, ThoughtSplitter, refusal_text
from meshlight.domain.errors import BackendFailed

STREAM = {"content-type": "text/event-stream"}


def answer(body: bytes, **headers: str) -> ChatAnswer:
    return ChatAnswer(httpx.Response(200, content=body, headers=headers or STREAM))


@given(
    st.sampled_from(
        ["<think>a < b</think>\n\nYes <think>", "\n <think>", "<thin air", "plain", "<think>x</thi"]
    ),
    st.data(),
)
def test_thoughts_are_the_same_however_the_text_is_cut(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    def told(pieces: list[str]) -> tuple[str, str]:
        splitter = ThoughtSplitter()
        found = [piece for part in pieces for piece in splitter.feed(part)] + list(splitter.end())
        return (
            "".join(p.text for p in found if p.is_thought).strip(),
            "".join(p.text for p in found if not p.is_thought).strip(),
        )

    assert told(parts) == told([text])


def test_who_answers_is_in_the_head_and_strange_numbers_count_as_one() -> None:
    one = answer(b"", **{"x-meshlight-backend": "a", "x-meshlight-attempts": "3", "x-meshlight-model": "m"})
    assert (one.backend, one.attempts, one.model) == ("a", 3, "m")
    assert answer(b"", **{"x-meshlight-attempts": "many"}).attempts == 1


def test_an_answer_that_is_no_stream_is_one_piece() -> None:
    whole = answer(
        b'{"choices":[{"message":{"content":"Hi"},"finish_reason":"length"}],"usage":{"completion_tokens":2}}',
        **{"content-type": "application/json"},
    )
    assert list(whole.pieces()) == [Piece("Hi")]
    assert (whole.finish, whole.tokens) == ("length", 2)


def test_what_is_no_chunk_is_passed_over_and_a_line_without_end_is_not_kept() -> None:
    end = b'data: {"choices":[{"finish_reason":"stop"}]}\n'
    assert list(answer(b": waiting\n\ndata: nonsense\n\ndata: [1]\n\nevent: x\n" + end).pieces()) == []
    with pytest.raises(BackendFailed, match="too long"):
        list(answer(b"data: " + b"x" * LINE_MAX).pieces())


def test_a_refusal_is_quoted_in_one_clean_line() -> None:
    assert refusal_text(b'{"error":{"message":"no\\u001b[2J\\nway"}}') == "no way"
    assert refusal_text(b'{"error":"no"}') == "no"
    assert refusal_text(b"<html>") == refusal_text(b'{"error":null}') == ""
