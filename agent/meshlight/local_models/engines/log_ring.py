"""The last lines that an engine wrote: few and short, whatever it writes, and without the paths of this machine."""

from collections import deque
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Final

from meshlight.domain.text import sanitize

LINES: Final = 200
LINE_BYTES: Final = 500
"""Kept of each line; the rest of a longer one is dropped as it comes."""


class LogRing:
    """Takes the bytes of an output. They are decoded and cleaned when they are read, which is seldom."""

    def __init__(self) -> None:
        self._lines: deque[bytes] = deque(maxlen=LINES)
        self._begun = bytearray()
        self.count = 0
        """All lines so far."""

    def write(self, data: bytes, on_line: Callable[[str], None] | None = None) -> None:
        """Take what was read; `on_line` gets each whole line of it."""
        *whole, rest = data.replace(b"\r", b"\n").split(b"\n")
        for piece in whole:
            self._append(piece)
            line = bytes(self._begun)
            self._begun.clear()
            if line.strip():
                self.count += 1
                self._lines.append(line)
                if on_line is not None:
                    on_line(line.decode("utf-8", "replace"))
        self._append(rest)

    def _append(self, piece: bytes) -> None:
        self._begun += piece[: LINE_BYTES - len(self._begun)]

    def lines(self, hide: Callable[[str], str]) -> tuple[str, ...]:
        """Return the lines, sanitized and through `hide`; one that has not ended is among them."""
        begun = [bytes(self._begun)] if self._begun.strip() else []
        texts = (line.decode("utf-8", "replace") for line in [*self._lines, *begun][-LINES:])
        return tuple(filter(None, (sanitize(hide(text), LINE_BYTES) for text in texts)))


class PathHider:
    """Replaces known paths by the last name of each, and removes a key."""

    def __init__(self, files: Iterable[str], folders: Iterable[str], key: str) -> None:
        replaced = {key: "***"} if key else {}
        for path in filter(None, files):
            replaced[path] = PurePath(path).name
            replaced.setdefault(str(PurePath(path).parent), "...")
        replaced |= {folder: "~" for folder in folders if folder}
        # The longest first, as one may be the beginning of another. A root alone is no secret.
        self._replaced = sorted(
            ((old, new) for old, new in replaced.items() if len(old) > 3), key=lambda pair: -len(pair[0])
        )

    def __call__(self, line: str) -> str:
        """Return the line without them."""
        for old, new in self._replaced:
            line = line.replace(old, new)
        return line
