"""The learned speeds as they are kept over a restart."""

from collections.abc import Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from meshlight.domain.decoding import decode_or_none
from meshlight.domain.kept_speed import Kept
from meshlight.domain.speed import LONGEST_S

BYTES_MAX = 1 << 20
"""What is larger is not read."""


class SpeedStore(Protocol):
    """Keeps the learned speeds over a restart."""

    def read(self) -> bytes:
        """Return what was written last; empty when nothing was, or it can't be read."""

    def write(self, data: bytes) -> None:
        """Store this in the place of what was there, soon."""

    def write_now(self, data: bytes) -> None:
        """Store it before returning."""


class KeptRoute(Struct, frozen=True, array_like=True):
    """The speeds of one route."""

    backend: str
    place: str
    model: str
    kept: Kept


_routes = msgspec.json.Decoder(list[KeptRoute])


def read(data: bytes) -> list[KeptRoute]:
    """Return what was kept, as far as it can be true."""
    found = decode_or_none(data, _routes) if len(data) <= BYTES_MAX else None
    return [route for route in found or () if _is_sane(route.kept)]


def written(routes: Sequence[KeptRoute]) -> bytes:
    """Return the bytes that `read` reads."""
    return msgspec.json.encode(routes)


def _is_sane(kept: Kept) -> bool:
    times = (kept.first_s, kept.read_s, kept.write_s, kept.load_s)
    return all(value is None or 0 <= value <= LONGEST_S for value in times) and (
        kept.answer is None or 0 <= kept.answer <= 1_000_000
    )
