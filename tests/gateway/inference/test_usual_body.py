"""Bodies of usual fields are read at once; whatever could be read in two ways is left to the careful reader."""

import json

import pytest

from meshlight.gateway.inference.usual_body import SMALL, read_usual
from meshlight.gateway.inference.usual_fields import USUAL


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"model":"m"}', ("m", False, False)),
        (b'{"model":"m","stream":true,"store":true}', ("m", True, True)),
        (b'{"model":"m","stream":null,"store":0}', ("m", False, False)),
        (b'{"model":"m","stream":"true"}', ("m", False, False)),
        (b'{"messages":[]}', ("", False, False)),
        (b'{"model":null}', ("", False, False)),
    ],
)
def test_what_decides_is_found(body: bytes, found: tuple[str, bool, bool]) -> None:
    assert read_usual(body) == found


@pytest.mark.parametrize("name", sorted(USUAL - {"model"}))
def test_a_usual_field_beside_the_model_changes_nothing(name: str) -> None:
    assert read_usual(json.dumps({"model": "m", name: None}).encode()) == ("m", False, False)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","model":"n"}',
        b'{"model":"m","mod\\u0065l":"n"}',
        b'{"model":"m","stream":true,"stream":null}',
        b'{"model":"m","stream":null,"stream":null}',
        b'{"model":"m","store":false,"store":true}',
        b'{"model":"m","Stream":true}',
        b'{"model":"m","unheard_of":1}',
        b'{"model":1}',
        b'{"model":"m"',
        b'["model"]',
        b'{"model":"\xff"}',
        b"",
        b'{"model":"m","prompt":"' + b"x" * SMALL + b'"}',
        b'{"model":"m","messages":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    ],
)
def test_all_else_is_left_to_the_careful_reader(body: bytes) -> None:
    assert read_usual(body) is None
