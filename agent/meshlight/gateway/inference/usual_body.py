"""Reads a JSON body of usual fields at once; most bodies have no others."""

from typing import Final

import msgspec

from meshlight.gateway.inference.usual_fields import ABSENT, FREQUENT_BODIES, USUAL_BODIES

SMALL: Final = 65_536
"""A body of so many bytes can't hold enough keys to cost much before they are counted."""
_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_usual(body: bytes) -> tuple[str, bool, bool] | None:
    """Return the model, `stream` and `store` of a body that has usual fields only; None for another one."""
    # A name that its quotes enclose only once can't be a key twice, unless a key is written with escapes.
    if len(body) > SMALL or body.partition(b"\\u00")[1] or _is_twice(body, b'"model"'):
        return None
    try:
        found = FREQUENT_BODIES.decode(body)
    except _ERRORS:
        try:
            found = USUAL_BODIES.decode(body)
        except _ERRORS:
            return None
    stream, store = found.stream, found.store
    if stream is not ABSENT and _is_twice(body, b'"stream"'):
        return None
    if store is not ABSENT and _is_twice(body, b'"store"'):
        return None
    return found.model or "", stream is True, store is True


def _is_twice(body: bytes, name: bytes) -> bool:
    """Whether a name is in a body more than once. `partition`, of one argument, is called sooner than `count`."""
    return bool(body.partition(name)[2].partition(name)[1])
