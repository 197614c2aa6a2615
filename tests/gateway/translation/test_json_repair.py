r"""Half a character in a stranger's JSON becomes a replacement sign and stops nobody."""

import msgspec
import pytest

from meshlight.gateway.translation.json_repair import decode_repaired

TEXT = msgspec.json.Decoder(str)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (rb'"\ud83d cut"', "\ufffd cut"),
        (rb'"\ude00 rest"', "\ufffd rest"),
        (rb'"\ud83d\ud83d\ude00"', "\ufffd\U0001f600"),
        (rb'"\ud83d\ude00"', "\U0001f600"),
        (rb'"\\ud83d\n\ud83d"', "\\ud83d\n\ufffd"),
        (b'"\xf0\x9f"', "\ufffd"),
        ('"plain ü"'.encode(), "plain ü"),
    ],
)
def test_halves_are_replaced_and_the_rest_stays(data: bytes, text: str) -> None:
    assert decode_repaired(data, TEXT) == text


@pytest.mark.parametrize("data", [rb'"\ud83d cut"', b'"\xf0\x9f cut"', '"plain ü"'.encode()])
def test_a_part_that_is_not_decoded_yet_is_repaired_too(data: bytes) -> None:
    assert decode_repaired(msgspec.Raw(data), TEXT) == decode_repaired(data, TEXT)


def test_what_is_no_json_stays_an_error() -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_repaired(b'"open', TEXT)
    with pytest.raises(msgspec.DecodeError):
        decode_repaired(b'"open \xff', TEXT)
    with pytest.raises(msgspec.ValidationError):
        decode_repaired(b"5", TEXT)
