"""What strangers say of themselves is shown only where it makes sense."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.backends.metadata import (
    as_object,
    bytes_text,
    number,
    parameters_text,
    quantization_text,
    read_object,
    read_objects,
    short_text,
    short_texts,
    tokens,
)
from meshlight.backends.model_list import read_items


@pytest.mark.parametrize("value", [0, -1, True, 1.5, "8192", None, [], 10**9 + 1])
def test_a_context_is_a_whole_number_that_can_be(value: object) -> None:
    assert tokens(8192) == 8192
    assert tokens(value) is None


def test_a_word_is_short_and_printable() -> None:
    assert short_text("  Q4_K_M\n") == "Q4_K_M"
    assert len(short_text("x" * 1000)) == 40
    assert short_text("a\u202eb\x1b[31m") == "ab"
    assert short_text(7) == ""
    assert short_texts(["a", 7, "b"]) == ("a", "", "b")
    assert short_texts("abc") == ()
    assert len(short_texts(["a"] * 10_000)) == 40


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (None, ""),
        (999, "999"),
        (689_280, "689K"),
        (137_000_000, "137M"),
        (3_212_749_888, "3.2B"),
        (8_030_261_312, "8B"),
        (235_093_634_560, "235B"),
        (1_000_000_000_000, "1T"),
    ],
)
def test_parameters_are_said_as_people_say_them(count: int | None, said: str) -> None:
    assert parameters_text(count) == said


@pytest.mark.parametrize(
    ("ftype", "said"),
    [
        ("F16", "F16"),
        ("Q4_K - Medium", "Q4_K_M"),
        ("Q5_K - Small", "Q5_K_S"),
        ("Q3_K - Large", "Q3_K_L"),
        ("(guessed) Q8_0", "Q8_0"),
        ("IQ2_XXS - 2.0625 bpw", "IQ2_XXS"),
        ("all F32", "F32"),
        ("MXFP4 MoE", "MXFP4 MoE"),
        ("", ""),
    ],
)
def test_llamacpp_s_file_types_are_called_as_the_files_are(ftype: str, said: str) -> None:
    assert quantization_text(ftype) == said


def test_sizes_are_said_in_one_unit() -> None:
    assert [bytes_text(n) for n in (12, 1_500, 2_019_393_189)] == ["12 B", "1.5 KB", "2.0 GB"]


def test_what_is_no_object_is_empty() -> None:
    assert read_object(None) == read_object(b"[]") == read_object(b"\xff") == read_object(b"[" * 5000) == {}
    assert read_objects(b'[1, {"a": 2}]') == [{"a": 2}]
    assert read_objects(b"{}") == []
    assert as_object({"a": {"b": 1}}, "a", "b") == {}


def test_items_are_known_by_the_name_they_have() -> None:
    body = b'{"data": [{"id": "a", "n": 1}, {"name": "b"}, {"model": "c"}, 7, {"id": "a"}, {"id": "x\\u0000"}, {}]}'
    assert read_items(body) == {"a": {"id": "a", "n": 1}, "b": {"name": "b"}, "c": {"model": "c"}}
    assert read_items(b'[{"id": "a"}]') == {"a": {"id": "a"}}
    assert read_items(body, "models") == {}


@given(st.binary(max_size=200))
def test_no_bytes_break_a_reader(body: bytes) -> None:
    read_object(body)
    read_objects(body)
    read_items(body)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.lists(st.text())))
def test_no_value_breaks_a_reader(value: object) -> None:
    assert short_text(value).isprintable()
    assert (number(value) or 1) > 0
    assert all(one.isprintable() for one in short_texts(value))
