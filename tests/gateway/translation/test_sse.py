"""Events are the same however the network cuts the stream, and whatever line ends the server likes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation import sse
from meshlight.gateway.translation.sse import Event, SseParser

Told = tuple[bytes, bytes, bool]


def told(events: list[Event]) -> list[Told]:
    return [(event.data, event.name, event.is_comment) for event in events]


def event(data: bytes, name: bytes = b"", *, is_comment: bool = False) -> Told:
    return data, name, is_comment


def read(*pieces: bytes, comments: bool = False) -> list[Told]:
    parser = SseParser(comments=comments)
    return told([event for piece in pieces for event in parser.feed(piece)] + parser.end())


def test_an_event_is_told_when_its_blank_line_comes() -> None:
    parser = SseParser()
    assert parser.feed(b"data: a") == []
    assert parser.feed(b"\n") == []
    assert told(parser.feed(b"\n")) == [event(b"a")]
    assert parser.end() == []


def test_names_lines_and_other_fields_are_understood() -> None:
    assert read(b"event: x\nid: 7\nretry: 1\ndata: a\ndata:b\ndata\n\n") == [event(b"a\nb\n", b"x")]


def test_carriage_returns_end_lines_too() -> None:
    assert read(b"data: a\r\n\r\ndata: b\r\rdata: c\n\r\n") == [event(b"a"), event(b"b"), event(b"c")]


def test_a_mark_of_byte_order_at_the_start_is_no_text() -> None:
    assert read(b"\xef\xbb\xbfdata: a\n\n") == [event(b"a")]


def test_a_last_event_without_its_blank_line_counts() -> None:
    assert read(b"data: a\n\ndata: b") == [event(b"a"), event(b"b")]


def test_comments_are_told_to_those_who_ask() -> None:
    assert read(b": hello\n\ndata: a\n\n") == [event(b"a")]
    output_of = read(b": hello\n\ndata: a\n\n", comments=True)
    assert output_of == [event(b"hello", is_comment=True), event(b"a")]


def test_the_error_line_of_old_llama_servers_is_an_event() -> None:
    assert read(b'error: {"code":500}\n\n') == [event(b'{"code":500}', b"error")]


def test_a_name_without_data_is_no_event() -> None:
    assert read(b"event: x\n\ndata: a\n\n") == [event(b"a")]


@pytest.mark.parametrize("end", [b"", b"\n", b"\ndata: more"])
def test_an_event_without_measure_ends_it_after_what_came_before(
    monkeypatch: pytest.MonkeyPatch, end: bytes
) -> None:
    monkeypatch.setattr(sse, "EVENT_MAX", 100)
    parser = SseParser()
    assert told(parser.feed(b"data: a\n\ndata: " + b"x" * 100 + end)) == [event(b"a")]
    with pytest.raises(TranslationFailed, match="MiB"):
        parser.feed(b"\n\n")
    with pytest.raises(TranslationFailed):
        parser.end()


def test_many_small_lines_of_one_event_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "EVENT_MAX", 100)
    with pytest.raises(TranslationFailed):
        read(*[b"data: 123\n"] * 20)


@given(
    st.lists(
        st.sampled_from(
            [b"data: a", b"data:", b": c", b"event: e", b"\n", b"\r", b"\r\n", b"x", b"data: a\n\n"]
        )
    ),
    st.data(),
)
def test_any_split_gives_the_same_events(parts: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    edges = [0, *cuts, len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(edges)]
    assert read(*pieces, comments=True) == read(whole, comments=True)
