import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.text import (
    QUOTE_MAX,
    StreamSanitizer,
    count,
    cut,
    duration,
    milliseconds,
    sanitize,
    sanitize_line,
    shorten,
    size_text,
    width,
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain name", "plain name"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hscreen", "screen"),
        ("\x1b[38;2;255;0;0mtrue\x1b[m colour", "true colour"),
        ("cut off \x1b[31", "cut off"),
        ("\x1b]0;a new window title\x07name", "name"),
        ("\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9d8;;http://evil.example\x9clink\x9d8;;\x9c", "link"),
        ("open \x1b]8;;http://evil.example", "open"),
        ("\x1bPdevice control\x1b\\name", "name"),
        ("\x1b(0line drawing", "line drawing"),
        ("\x9b31mred", "red"),
        ("c1 \x80\x84\x8d\x9f", "c1"),
        ("a\r\nb\tc\x85d\u2028e", "a b c d e"),
        ("\u202egnp.exe", "gnp.exe"),
        ("\u2066isolated\u2069 \u200fright", "isolated right"),
        ("in\u200bvis\u2060ible\ufeff", "invisible"),
        ("soft\u00adhyphen \U000e0041tag", "softhyphen tag"),
        ("\u3164\uffa0\u115f\u2800", ""),
        ("\x00\x07bell\x7f", "bell"),
        ("[bold]not bold[/bold]", "[bold]not bold[/bold]"),
        ("日本語 🙂", "日本語 🙂"),
        ("lone \ud800 half", "lone half"),
        ("private \ue000 use", "private use"),
    ],
)
def test_untrusted_text_is_shown_without_what_could_move_paint_or_hide(text: str, shown: str) -> None:
    assert sanitize(text) == shown


def test_a_name_cannot_climb_over_its_neighbours_with_accents() -> None:
    assert sanitize("e" + "\u0301" * 60) == "e\u0301\u0301"


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("exact", 5, "exact"),
        ("longer", 5, "long…"),
        ("two words", 5, "two…"),
        ("\x1b[31mred\x1b[0m", 3, "red"),
        ("é" * 10_000, 4, "ééé…"),
        ("\x1b]0;" + "x" * 10_000, 4, ""),
        ("ok" + "\x1b[31;1;4" * 3, 8, "ok"),
    ],
)
def test_long_text_ends_in_an_ellipsis_and_never_in_half_a_sequence(
    text: str, limit: int, shown: str
) -> None:
    assert sanitize(text, limit) == shown


def test_a_quote_has_a_limit_of_its_own() -> None:
    assert sanitize_line("a\r\n\tb\x1b[31m\u202e  c") == "a b c"
    assert len(sanitize_line("x" * 10_000)) == QUOTE_MAX


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("one\ntwo", "one\ntwo"),
        ("one\r\ntwo\u2028three\x0bfour", "one\ntwo\nthree\nfour"),
        ("  one \t 1 \n\n\n two", "one 1\ntwo"),
        ("\x1b[31mone\x1b[0m\n\u202etwo", "one\ntwo"),
        ("\x1b]0;ti\ntle\x07one\ntwo", "one\ntwo"),
    ],
)
def test_lines_stay_where_they_are_wanted(text: str, shown: str) -> None:
    assert sanitize(text, keep_newlines=True) == shown


@given(st.text(), st.none() | st.integers(1, 30))
def test_clean_text_is_printable_whatever_it_was_and_stays_as_it_is(text: str, limit: int | None) -> None:
    once = sanitize(text, limit)
    assert once.isprintable()
    assert limit is None or len(once) <= limit
    assert sanitize(once, limit) == once


@given(st.text(), st.integers(1, 30))
def test_shortened_text_always_fits(said: str, cells: int) -> None:
    assert width(shorten(sanitize(said), cells)) <= cells
    assert width(cut(sanitize(said), cells)) <= cells


@pytest.mark.parametrize(
    ("text", "cells"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("🙂", 2), ("\u4dc0", 2), ("\u2630", 2)]
)
def test_a_width_is_counted_in_terminal_cells(text: str, cells: int) -> None:
    assert width(text) == cells


def test_a_long_name_keeps_both_of_its_ends() -> None:
    assert shorten("llama-3.3-70b-instruct-q4_k_m.gguf", 15) == "llama-3…_m.gguf"
    assert shorten("short", 15) == "short"
    assert shorten("日本語日本語", 7) == "日…語"


def test_a_long_sentence_keeps_its_beginning() -> None:
    assert cut("Connection refused at 127.0.0.1", 12) == "Connection…"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.4, "0 s"),
        (59, "59 s"),
        (180, "3 min"),
        (3600, "1 h"),
        (8044, "2 h 14 min"),
        (86400, "1 d"),
        (270000, "3 d 3 h"),
    ],
)
def test_lengths_of_time_read_like_speech(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_latencies_show_the_digits_that_matter() -> None:
    assert [milliseconds(v) for v in (None, 0.84, 12.3, 1430.0)] == ["-", "0.8 ms", "12 ms", "1.4 s"]


def test_one_is_not_a_plural() -> None:
    assert (count(1, "model"), count(2000, "model")) == ("1 model", "2,000 models")


def test_sizes_are_decimal_and_show_the_digits_that_matter() -> None:
    sizes = (12, 4_200, 98_000_000, 6_240_000_000, 9_960_000_000, 34_000_000_000, 2_000_000_000_000)
    assert [size_text(size) for size in sizes] == [
        "12 B", "4 kB", "98 MB", "6.2 GB", "10 GB", "34 GB", "2.0 TB"
    ]  # fmt: skip


@given(st.text(st.sampled_from("ab\x1b[]0;m\x07\\\x9b\x9d\n\t\r\u202e\u0301\u200b"), max_size=40), st.data())
def test_a_stream_is_as_safe_however_it_is_cut(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    whole, cut_up = StreamSanitizer(), StreamSanitizer()
    expected = whole.feed(text)
    found = "".join(cut_up.feed(text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True))
    assert found == expected
    assert not set(found) & set("\x1b\x07\x9b\x9d\r\u202e\u200b")


@pytest.mark.parametrize(("begin", "end"), [("\x90", "\x07"), ("\x9d", "\x1b\\"), ("\x1b]", "\x07")])
def test_many_beginnings_of_sequences_are_read_once(begin: str, end: str) -> None:
    assert (
        StreamSanitizer().feed(f"a{begin * 500_000}{end}b") == "ab"
    )  # in quadratic time this would take hours


def test_a_stream_keeps_its_lines_and_spaces_and_holds_back_no_more_than_it_must() -> None:
    stream = StreamSanitizer()
    assert stream.feed("  a\n\n\tb  ") == "  a\n\n\tb  "
    assert stream.feed("\x1b]0;" + "x" * 1_000_000) == ""
    assert stream.feed("y" * 10) == ""
    assert stream.feed("\x07z") == "z"
