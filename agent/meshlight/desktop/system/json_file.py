"""A small JSON file with saved values of the tray or the window; a missing or broken file is no error."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T", bound=msgspec.Struct)


class JsonFile(Generic[T]):
    """Reads and writes one Struct; never raises an error, as its values are not important."""

    def __init__(self, path: Path, struct_type: type[T]) -> None:
        self._path = path
        self._struct_type = struct_type

    def read(self) -> T:
        """Return the saved values, or the defaults if they can't be read."""
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=self._struct_type)
        except (OSError, msgspec.MsgspecError):
            return self._struct_type()

    def write(self, value: T) -> None:
        """Save the values atomically; if that fails, such as on a full disk, the old ones stay."""
        temporary = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with suppress(OSError):
            temporary.write_bytes(msgspec.json.encode(value))
            temporary.replace(self._path)
