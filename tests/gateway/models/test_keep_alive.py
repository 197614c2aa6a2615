"""`keep_alive` is read strictly, in every way in which Ollama's clients write it."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.errors import BadRequest
from meshlight.gateway.models.keep_alive import FOR_EVER, read_keep_alive


def read(value: object) -> float | None:
    return read_keep_alive(msgspec.json.encode({"model": "m", "keep_alive": value}))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (0, 0),
        (300, 300),
        (0.5, 0.5),
        (-1, FOR_EVER),
        (-0.5, FOR_EVER),
        (1e300, FOR_EVER),
        ("0", 0),
        ("0s", 0),
        ("-1", FOR_EVER),
        ("300", 300),
        ("5m", 300),
        ("1h30m", 5_400),
        ("1.5h", 5_400),
        (".5s", 0.5),
        ("250ms", 0.25),
        ("+2s", 2),
        ("-5m", FOR_EVER),
        (" 5m ", 300),
    ],
)
def test_numbers_and_durations_are_seconds(value: object, seconds: float | None) -> None:
    assert read(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "5 m",
        "five",
        "m",
        "5x",
        "1h-5m",
        "--1",
        "1e9",
        "∞",
        "5m\x00",
        "9" * 400,
        True,
        [],
        {},
        [5],
        "0x10",
    ],
)
def test_anything_else_is_refused_by_its_name(value: object) -> None:
    with pytest.raises(BadRequest, match="keep_alive can't be") as refused:
        read(value)
    assert refused.value.param == "keep_alive"
    assert len(refused.value.title) < 120


@pytest.mark.parametrize("body", [b"{}", b'{"model":"m"}', b'{"keep_alive"', b'["keep_alive"]', b"", b"\xff"])
def test_a_body_that_says_nothing_or_is_none_is_left_to_who_reads_it(body: bytes) -> None:
    assert read_keep_alive(body) is None


@given(st.text(max_size=30))
def test_no_text_is_a_fault(text: str) -> None:
    with suppress(BadRequest):
        seconds = read(text)
        assert seconds is not None
        assert seconds >= FOR_EVER
