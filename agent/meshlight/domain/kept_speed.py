"""What is kept of the speeds that were learned (`speed.py`)."""

from msgspec import Struct


class Kept(Struct, frozen=True, omit_defaults=True):
    """What of a route's speed is kept over a restart."""

    first_s: float | None = None
    read_s: float | None = None
    write_s: float | None = None
    load_s: float | None = None
    answer: float | None = None
