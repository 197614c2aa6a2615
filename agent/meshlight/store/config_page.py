"""The configuration file as bytes: what was found, and how to write it back the same way."""

import os
import stat
from pathlib import Path

from msgspec import Struct

from meshlight.domain.errors import ConfigError
from meshlight.store.files import read_with_stat

Signature = tuple[int, int, int, int]
"""What tells one state of a file from another: its two times of change in nanoseconds, size, inode."""

_BOM = b"\xef\xbb\xbf"


class Page(Struct, frozen=True):
    """A text with Unix line ends, and the bytes that it was read from."""

    text: str
    data: bytes
    signature: Signature | None
    """None if there was no file."""
    mode: int = 0o600
    bom: bool = False
    crlf: bool = False

    def encode(self, text: str) -> bytes:
        """Return another text in the bytes of this one: same line ends, same mark at the beginning."""
        body = text if text.endswith("\n") else text + "\n"
        if self.crlf:
            body = body.replace("\n", "\r\n")
        return (_BOM if self.bom else b"") + body.encode()


NO_PAGE = Page("", b"", None)
"""What is read where there is no file."""


def read_page(path: Path) -> Page:
    """Read the file; raises OSError, or ConfigError for what is no UTF-8."""
    data, found = read_with_stat(path)
    try:
        text = data.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"line {line}: this is not UTF-8.", f"Save {path} as UTF-8.", line=line) from None
    return Page(
        text=text.replace("\r\n", "\n"),
        data=data,
        signature=signature_of(found),
        mode=stat.S_IMODE(found.st_mode),
        bom=data.startswith(_BOM),
        crlf="\r\n" in text,
    )


def signature_of(found: os.stat_result) -> Signature:
    """Return what changes when the file does: by writing into it, replacing it, or changing who may read it."""
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
