"""Writers of an answer in OpenAI's Responses API: as the events of a stream, and as one JSON object."""

from typing import Any, Protocol

import msgspec

_encode = msgspec.json.Encoder().encode
_LAST = frozenset({"response.completed", "response.incomplete"})


class Writer(Protocol):
    """Receives an answer in the order in which it grows."""

    def event(self, kind: str, **fields: Any) -> None:
        """One event; the last one is `response.completed`, `.incomplete` or `.failed`."""

    def ping(self) -> None:
        """The connection is alive, without new content."""

    def take(self) -> bytes:
        """Return the bytes to send now; each is returned once."""


class EventWriter:
    """Writes a stream; the events are numbered from 0."""

    __slots__ = ("_number", "_out")

    def __init__(self) -> None:
        self._out: list[bytes] = []
        self._number = 0

    def event(self, kind: str, **fields: Any) -> None:
        """Write one event; its name is in `event:` and in `type`."""
        data = _encode({"type": kind, "sequence_number": self._number, **fields})
        self._number += 1
        self._out.append(b"event: %s\ndata: %s\n\n" % (kind.encode(), data))

    def ping(self) -> None:
        """Write a comment: the protocol has no event for it."""
        self._out.append(b": ping\n\n")

    def take(self) -> bytes:
        """Return the events since the last call."""
        out = b"".join(self._out)
        self._out.clear()
        return out


class ObjectWriter:
    """Writes the response, once it is complete."""

    __slots__ = ("_body",)

    def __init__(self) -> None:
        self._body = b""

    def event(self, kind: str, **fields: Any) -> None:
        """Store the response of the last event."""
        if kind in _LAST:
            self._body = _encode(fields["response"])

    def ping(self) -> None:
        """Do nothing: a JSON object has no place for it."""

    def take(self) -> bytes:
        """Return the response once it is written."""
        body, self._body = self._body, b""
        return body
