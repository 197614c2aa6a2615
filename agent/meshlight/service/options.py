"""What `meshlight serve` was started with, and how it speaks to whoever started it."""

import sys
from pathlib import Path

from msgspec import Struct


class ServeOptions(Struct, frozen=True, kw_only=True):
    """The options of the command line; None means that the configuration decides."""

    port: int | None = None
    config: Path | None = None
    insecure_storage: bool = False
    discovery: bool = True
    quiet: bool = False
    log_level: str = "info"


def print_line(text: str) -> None:
    """Print a line for people, at once."""
    print(text, file=sys.stderr, flush=True)
