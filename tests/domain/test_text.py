import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.text import count, cut, duration, milliseconds, sanitize, shorten, width


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("plain name", "plain name"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;a new window title\x07name", "name"),
        ("\x1b]8;;http://evil.example\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("a\r\nb\tc", "a b c"),
        ("\u202egnp.exe", "gnp.exe"),
        ("in\u200bvis\u2060ible\ufeff", "invisible"),
        ("\x00\x07bell", "bell"),
        ("[bold]not bold[/bold]", "[bold]not bold[/bold]"),
        ("日本語 🙂", "日本語 🙂"),
        ("lone \ud800 half", "lone half"),
    ],
)
def test_a_strangers_name_is_shown_without_what_could_move_paint_or_hide(said: str, shown: str) -> None:
    assert sanitize(said) == shown


def test_a_name_cannot_climb_over_its_neighbours_with_accents() -> None:
    assert sanitize("e" + "\u0301" * 60) == "e\u0301\u0301"


@given(st.text())
def test_clean_text_is_printable_whatever_it_was_and_stays_as_it_is(said: str) -> None:
    once = sanitize(said)
    assert once.isprintable()
    assert sanitize(once) == once


@given(st.text(), st.integers(1, 30))
def test_shortened_text_always_fits(said: str, cells: int) -> None:
    assert width(shorten(sanitize(said), cells)) <= cells
    assert width(cut(sanitize(said), cells)) <= cells


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
