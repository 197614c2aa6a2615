import pytest
from msgspec import Raw, Struct
from msgspec.json import Decoder

from meshlight.domain.decoding import decode_or_none


class Version(Struct):
    version: str


def test_json_is_decoded_to_plain_values_or_to_a_shape() -> None:
    assert decode_or_none(b'{"version": "1"}') == {"version": "1"}
    assert decode_or_none(b'{"version": "1"}', Version) == Version("1")
    assert decode_or_none(Raw(b'{"version": "1"}'), Decoder(Version)) == Version("1")
    assert decode_or_none('{"version": "1"}', Version) == Version("1")


@pytest.mark.parametrize(
    "data",
    [b"", b"no", b'{"version": 1}', b'{"version": "\xff"}', b'{"x": ' * 9999, b"[" * 100_000, b'{"version"'],
)
def test_what_cannot_be_decoded_is_none(data: bytes) -> None:
    assert decode_or_none(data, Version) is None
    assert decode_or_none(data, Decoder(Version)) is None


@pytest.mark.parametrize("data", [b"", b"no", b'"\xff"', b"[" * 100_000, b"[1,"])
def test_neither_are_plain_values(data: bytes) -> None:
    assert decode_or_none(data) is None
