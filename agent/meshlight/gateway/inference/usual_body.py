"""Reads a JSON body of usual fields at once; most bodies have no others."""

from typing import Final

import msgspec

from meshlight.gateway.inference.usual_fields import ABSENT, FREQUENT_BODIES, USUAL_BODIES

SMALL: Final = 65_536
"""A body of so many bytes can't hold enough keys to cost much before they are counted."""
_ERRORS: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_usual(body: bytes) -> tuple[str, bool, bool] | None:
    """Return the model, `stream` and `store` of a body that has usual fields only; None for another one."""
    # A name that its quotes enclose only once can't be a key twice, unless a key is written with escapes. With `in`,
    # bytes are first taken for a number, which takes longer than the search.
    if len(body) > SMALL or body.find(b"\\u00") != -1 or body.count(b'"model"') > 1:
        return None
    try:
        found = FREQUENT_BODIES.decode(body)
    except _ERRORS:
        try:
            found = USUAL_BODIES.decode(body)
        except _ERRORS:
            return None
    stream, store = found.stream, found.store
    if stream is not ABSENT and body.count(b'"stream"') > 1:
        return None
    if store is not ABSENT and body.count(b'"store"') > 1:
        return None
    return found.model or "", stream is True, store is True
