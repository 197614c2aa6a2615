"""Server-sent events out of a stream of bytes that is split anywhere.

Read as the HTML standard says (server-sent events, "parsing an event stream"), but for two things: an event that
the end of the stream leaves without its blank line still counts, and so does a field `error`, with which older
builds of llama-server tell of a failure in mid-stream.
"""

import re

from msgspec import Struct

from meshlight.domain.errors import TranslationFailed

EVENT_MAX = 16 << 20
"""Bytes of one event; more is no event but a server gone wrong."""

_LINE_END = re.compile(rb"\r\n|\n|\r")
_BOM = b"\xef\xbb\xbf"


class Event(Struct, frozen=True, gc=False):
    """One event; `name` is empty for the usual ones that say nothing but `data:`."""

    data: bytes
    name: bytes = b""
    is_comment: bool = False
    """Whether it is a comment (a sign of life), which is told only where it was asked for."""


class SseParser:
    """Takes pieces and gives whole events.

    An event over EVENT_MAX ends it: what came before is returned, and the next call raises TranslationFailed.
    """

    __slots__ = ("_comments", "_cr", "_data", "_fault", "_is_first", "_name", "_rest", "_rest_size", "_size")

    def __init__(self, *, comments: bool = False) -> None:
        self._comments = comments
        self._rest: list[bytes] = []
        """The pieces of a line that has not ended."""
        self._rest_size = 0
        self._data: list[bytes] = []
        self._name = b""
        self._size = 0
        """Bytes of the whole lines of the event that has not ended."""
        self._cr = False
        """Whether the last byte was a CR, so that a LF now belongs to it."""
        self._is_first = True
        self._fault: TranslationFailed | None = None

    @property
    def waiting(self) -> int:
        """Return the number of buffered bytes."""
        return self._size + self._rest_size

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes."""
        if self._fault is not None:
            raise self._fault
        if not data:
            return []
        if self._cr and data[0] == 10:
            data = data[1:]
        self._cr = data[-1:] == b"\r"
        lines = data.split(b"\n") if b"\r" not in data else _LINE_END.split(data)
        last = lines.pop()
        found: list[Event] = []
        if lines:
            if self._rest:
                lines[0] = b"".join((*self._rest, lines[0]))
                self._rest.clear()
                self._rest_size = 0
            for line in lines:
                if not self._take(line, found):
                    return found
        if last:
            self._rest.append(last)
            self._rest_size += len(last)
            self._is_bearable(self._size + self._rest_size)
        return found

    def end(self) -> list[Event]:
        """Return the event that the end of the stream has left open, if it is one."""
        if self._fault is not None:
            raise self._fault
        found: list[Event] = []
        if self._rest:
            self._take(b"".join(self._rest), found)
            self._rest.clear()
        self._take(b"", found)
        return found

    def _take(self, line: bytes, found: list[Event]) -> bool:
        """Take a whole line; False when the event has become too large."""
        if self._is_first:
            line = line.removeprefix(_BOM)
            self._is_first = False
        if not line:
            if self._data:
                found.append(Event(b"\n".join(self._data), self._name))
                self._data = []
            self._name = b""
            self._size = 0
            return True
        self._size += len(line)
        if not self._is_bearable(self._size):
            return False
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._name = value
        elif name == b"error":
            self._name = b"error"
            self._data.append(value)
        elif not name and self._comments:
            found.append(Event(value, is_comment=True))
        return True

    def _is_bearable(self, size: int) -> bool:
        if size > EVENT_MAX:
            self._fault = TranslationFailed(f"It sent one event of more than {EVENT_MAX >> 20} MiB.")
        return size <= EVENT_MAX
