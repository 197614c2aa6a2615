"""Remembers what the headers of files said: a file is read once, and then only its size and time are looked at."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec
from msgspec import Struct

from meshlight.domain.decoding import decode_or_none
from meshlight.local_models.catalog.header import BadFile, BadHeader, Facts, Header
from meshlight.local_models.catalog.safetensors import read_safetensors
from meshlight.local_models.catalog.walker import FoundFile, FoundFolder, reason_of

if TYPE_CHECKING:
    from meshlight.local_models.catalog.gguf import Vocabularies

log = logging.getLogger(__name__)

VERSION = 2
"""Of the meaning of what is stored: another one is forgotten."""
ENTRIES_MAX = 10_000
BYTES_MAX = 32 << 20


class CacheStore(Protocol):
    """Where the headers are kept between starts."""

    def read(self) -> bytes:
        """Return what was written last; nothing without. Raises OSError."""

    def write(self, data: bytes, /) -> None:
        """Keep this. Raises OSError."""


class _Entry(Struct, frozen=True, array_like=True):
    size: int
    mtime_ns: int
    facts: Facts


class _Document(Struct, frozen=True):
    version: int
    entries: dict[str, _Entry]


_decoder = msgspec.json.Decoder(_Document)


class HeaderCache:
    """Gives the facts about files and folders; used by one thread at a time."""

    def __init__(self, store: CacheStore) -> None:
        self._store = store
        self._entries: dict[str, _Entry] | None = None
        self._used: set[str] = set()
        self._is_changed = False
        self._vocabularies: Vocabularies = {}

    def of_file(self, file: FoundFile) -> Facts:
        """Return what a GGUF file's header says."""
        return self._facts(file.path, file.size, file.mtime_ns, self._read_gguf)

    def of_folder(self, folder: FoundFolder) -> Facts:
        """Return what a folder of safetensors files says."""
        size = sum(file.size for file in folder.files)
        newest = max(file.mtime_ns for file in folder.files)
        sizes = {file.name: file.size for file in folder.files}
        return self._facts(folder.path, size, newest, lambda path: read_safetensors(path, sizes))

    def save(self) -> None:
        """Keep what is new; what was not asked for is forgotten when it becomes too much."""
        self._vocabularies = {}
        if not self._is_changed:
            return
        entries = self._loaded()
        if len(entries) > ENTRIES_MAX:
            entries = {path: entry for path, entry in entries.items() if path in self._used}
        self._entries = entries
        self._is_changed = False
        writable = {path: entry for path, entry in entries.items() if _is_text(path)}
        try:
            self._store.write(msgspec.json.encode(_Document(VERSION, writable)))
        except OSError as error:
            log.warning("what was read of model files can't be kept for the next start: %s", reason_of(error))

    def _facts(self, path: str, size: int, mtime_ns: int, read: Callable[[str], Header]) -> Facts:
        entries = self._loaded()
        self._used.add(path)
        entry = entries.get(path)
        if entry is not None and (entry.size, entry.mtime_ns) == (size, mtime_ns):
            return entry.facts
        facts: Facts
        try:
            facts = read(path)
        except BadHeader as error:
            facts = BadFile(error.why)
        except (OSError, ValueError) as error:
            return BadFile(f"Can't be read: {reason_of(error)}.")
        entries[path] = _Entry(size, mtime_ns, facts)
        self._is_changed = True
        return facts

    def _read_gguf(self, path: str) -> Header:
        from meshlight.local_models.catalog.gguf import read_gguf  # noqa: PLC0415 - at most starts, nothing is new

        return read_gguf(path, self._vocabularies)

    def _loaded(self) -> dict[str, _Entry]:
        if self._entries is None:
            try:
                data = self._store.read()
            except OSError:
                data = b""
            document = decode_or_none(data, _decoder) if data and len(data) <= BYTES_MAX else None
            is_known = document is not None and document.version == VERSION
            self._entries = document.entries if document is not None and is_known else {}
        return self._entries


def _is_text(path: str) -> bool:
    """Whether a path can be written as text: on Linux a name may be any bytes."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
