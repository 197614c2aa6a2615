"""Parses server-sent events from a stream of bytes that is split anywhere.

Follows the HTML standard (server-sent events, "parsing an event stream"), with two exceptions: a last event without
its blank line still counts, and so does a field `error`, with which older builds of llama-server report a failure in
mid-stream.
"""

import re
from typing import Final

from meshlight.domain.errors import TranslationFailed

EVENT_MAX = 16 << 20
"""Bytes of one event."""

_LINE_END: Final = re.compile(rb"\r\n|\n|\r")
_DATA: Final = b"data: "
_END: Final = b"\n\n"
_BOM: Final = b"\xef\xbb\xbf"


class Event:
    """One event; `name` is empty for those without an `event:` line."""

    __slots__ = ("data", "is_comment", "name")

    def __init__(self, data: bytes, name: bytes = b"", is_comment: bool = False) -> None:
        self.data = data
        self.name = name
        self.is_comment = is_comment
        """Whether it is a comment (a sign of life); only returned with `comments`."""


class SseParser:
    """Turns pieces into events.

    An event above EVENT_MAX ends it: the events before are returned, and the next call raises TranslationFailed.
    """

    __slots__ = ("_comments", "_cr", "_data", "_fault", "_is_first", "_name", "_rest", "_rest_size", "_size")

    def __init__(self, *, comments: bool = False) -> None:
        self._comments = comments
        self._rest: list[bytes] = []
        """The pieces of an incomplete line."""
        self._rest_size = 0
        self._data: list[bytes] = []
        self._name = b""
        self._size = 0
        """Bytes of the complete lines of an incomplete event."""
        self._cr = False
        """Whether the last byte was a CR, to which a following LF belongs."""
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
        if self._is_one_event(data):
            self._is_first = False
            return [Event(data[len(_DATA) : len(data) - len(_END)])]
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
                if not self._add_line(line, found):
                    return found
        if last:
            self._rest.append(last)
            self._rest_size += len(last)
            self._check_size(self._size + self._rest_size)
        return found

    def end(self) -> list[Event]:
        """Return the event that was open at the end of the stream, if any."""
        if self._fault is not None:
            raise self._fault
        found: list[Event] = []
        if self._rest:
            self._add_line(b"".join(self._rest), found)
            self._rest.clear()
        self._add_line(b"", found)
        return found

    def _is_one_event(self, data: bytes) -> bool:
        """Whether a piece is one whole event of one line, as most of them are, and nothing came before it."""
        return (
            not (self._rest or self._data or self._name or self._size or self._cr)
            and data.startswith(_DATA)
            and data.endswith(_END)
            and data.find(b"\n") == len(data) - len(_END)
            and data.find(b"\r") < 0
            and len(data) <= EVENT_MAX
        )

    def _add_line(self, line: bytes, found: list[Event]) -> bool:
        """Add a complete line; return False if the event has become too large."""
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
        if not self._check_size(self._size):
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

    def _check_size(self, size: int) -> bool:
        if size > EVENT_MAX:
            self._fault = TranslationFailed(f"It sent one event of more than {EVENT_MAX >> 20} MiB.")
        return size <= EVENT_MAX
