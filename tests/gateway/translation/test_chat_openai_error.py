"""The message of a failing backend reaches the client, whatever shape it came in."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.gateway.translation.chat import MESSAGE_MAX, error_message


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b'{"error": {"message": "context too long", "type": "x"}}', "context too long"),
        (b'{"error": "no such model"}', "no such model"),
        (b'{"detail": "Not Found"}', "Not Found"),
        (
            b'{"object": "error", "message": "max_tokens is too large", "code": 400}',
            "max_tokens is too large",
        ),
        (b'{"detail": [{"loc": ["body", "n"], "msg": "must be 1"}, {"msg": "so"}]}', "body.n: must be 1; so"),
        (b"upstream connect error", "upstream connect error"),
        (b"<!DOCTYPE html><html>502</html>", "a web page instead of an error message"),
        (b"", "status 502 and no error message"),
        (b'{"error": null}', "no error message"),
        (b"[" * 5_000, "["),
    ],
)
def test_each_shape_is_read(body: bytes, message: str) -> None:
    assert message in error_message(body, 502)


def test_a_message_is_one_printable_line_of_bounded_length() -> None:
    text = error_message(json.dumps({"error": {"message": "a\x1b[31m\nb" + "x" * 10_000}}).encode(), 500)
    assert text.startswith("a b")
    assert len(text) <= MESSAGE_MAX
    assert text.isprintable()


@given(st.binary(max_size=300))
def test_no_body_breaks_it(body: bytes) -> None:
    assert error_message(body, 500).isprintable()
