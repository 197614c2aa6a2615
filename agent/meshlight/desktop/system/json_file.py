"""A few values of the tray's or the window's own, in a JSON file that may be missing or broken without harm."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class JsonFile(Generic[T]):
    """The file of one kind of values; nothing in it is worth an error."""

    def __init__(self, path: Path, shape: type[T]) -> None:
        self._path = path
        self._shape = shape

    def read(self) -> T:
        """Return what was kept; the defaults where there is nothing that can be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=self._shape)
        except (OSError, msgspec.MsgspecError):
            return self._shape()

    def write(self, value: T) -> None:
        """Keep the values, whole or not at all; a full disk only means that they are not remembered."""
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with suppress(OSError):
            beside.write_bytes(msgspec.json.encode(value))
            beside.replace(self._path)
