"""The body of an answer as it comes, split anywhere: events out of a stream, or one out of a whole body."""

from typing import TypeVar

import msgspec

from meshlight.backends.quote import clean
from meshlight.domain.errors import Untranslated
from meshlight.gateway.translation.bounds import check_answer
from meshlight.gateway.translation.openai_error import error_message
from meshlight.gateway.translation.sse import Event, SseParser
from meshlight.gateway.translation.well_formed import decode

WHOLE_MAX = 64 << 20
"""Bytes of an answer that comes in one piece."""
_TITLE_MAX = 300
_SNIFFED = 64
_EVENT = (b"data:", b"event:", b"id:", b"retry:", b"error:", b":")

T = TypeVar("T")


class WholeBody:
    """Gathers an answer that comes in one piece, up to a limit."""

    __slots__ = ("data",)

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, data: bytes) -> None:
        """Keep a piece; raises Untranslated when there is too much."""
        self.data += data
        if len(self.data) > WHOLE_MAX:
            raise Untranslated(f"It sent an answer of more than {WHOLE_MAX >> 20} MiB.")

    def take(self) -> bytes:
        """Return all that came, and keep nothing of it."""
        data = bytes(self.data)
        self.data = bytearray()
        return data


class WholeBack:
    """The first half of a way back for an answer that is one JSON object: it is gathered until its end."""

    __slots__ = ("_whole",)

    content_type = b"application/json"

    def __init__(self) -> None:
        self._whole = WholeBody()

    def begin(self, content_type: bytes) -> None:
        """Need not know: it is JSON or nothing."""

    @property
    def waiting(self) -> int:
        """Return how much is kept of what has not come to its end."""
        return len(self._whole.data)

    def feed(self, data: bytes) -> bytes:
        """Keep the piece; raises Untranslated when there are too many."""
        self._whole.add(data)
        return b""


class AnswerEvents:
    """Takes the pieces of a body and gives what they complete; with `comments`, signs of life too."""

    __slots__ = ("_comments", "_may_be_events", "_parser", "_whole")

    def __init__(self, *, comments: bool = False) -> None:
        self._comments = comments
        self._parser: SseParser | None = None
        self._whole = WholeBody()
        """An answer in one piece, or the first bytes of one that has not shown yet what it is."""
        self._may_be_events = True

    def begin(self, content_type: bytes) -> None:
        """Learn whether events come; where the server does not say, the first byte will."""
        kind = content_type.lower()
        if b"event-stream" in kind:
            self._parser = SseParser(comments=self._comments)
        self._may_be_events = b"json" not in kind

    @property
    def is_whole(self) -> bool:
        """Whether the answer is one JSON object and no stream of events."""
        return self._parser is None

    @property
    def waiting(self) -> int:
        """Return how much is kept of what has not come to its end."""
        return len(self._whole.data) if self._parser is None else self._parser.waiting

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes; raises Untranslated."""
        if self._parser is None:
            self._whole.add(data)
            if not (self._may_be_events and _is_event(self._whole.data)):
                return []
            self._parser = SseParser(comments=self._comments)
            data = self._whole.take()
        return self._parser.feed(data)

    def end(self) -> list[Event]:
        """Return what the end of the body completes: a whole body is one event."""
        if self._parser is not None:
            return self._parser.end()
        data = self._whole.take()
        return [Event(data)] if data and not data.isspace() else []


def read(data: bytes, decoder: msgspec.json.Decoder[T], *, counted: bool = True) -> T:
    """Decode one event or a whole body; raises Untranslated in words.

    Not `counted` are the values of what is decoded only in part.
    """
    if counted:
        check_answer(data)
    try:
        return decode(data, decoder)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        said = "it is nested too deeply." if isinstance(error, RecursionError) else "it is not JSON."
        if isinstance(error, msgspec.ValidationError):
            said = clean(f"{error}.", _TITLE_MAX)
        raise Untranslated(f"It sent something that is no answer: {said}") from None


def told_error(data: bytes) -> Untranslated:
    """Return the fault that the backend itself tells of."""
    return Untranslated(f"It sent an error in place of an answer: {clean(error_message(data), _TITLE_MAX)}")


def _is_event(start: bytearray) -> bool:
    """Whether an answer that does not say what it is begins as events do."""
    return bytes(start[:_SNIFFED]).lstrip(b"\xef\xbb\xbf\r\n").startswith(_EVENT)
