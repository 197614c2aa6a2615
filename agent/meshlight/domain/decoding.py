"""Decoding JSON that may be anything."""

from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")
_anything: msgspec.json.Decoder[Any] = msgspec.json.Decoder()


@overload
def decode_or_none(data: bytes | str | msgspec.Raw) -> Any: ...


@overload
def decode_or_none(data: bytes | str | msgspec.Raw, shape: type[T] | msgspec.json.Decoder[T]) -> T | None: ...


def decode_or_none(data: bytes | str | msgspec.Raw, shape: Any = _anything) -> Any:
    """Return the decoded JSON; None when it is malformed, not UTF-8, nested too deeply, or not of that shape.

    `shape` is a type or a decoder; without one, any JSON is decoded to plain values (and `null` to None too).
    """
    try:
        return (
            shape.decode(data)
            if isinstance(shape, msgspec.json.Decoder)
            else msgspec.json.decode(data, type=shape)
        )
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
