"""An answer of chat completions or completions as it comes: chunks out of a stream, or one out of a whole body."""

from collections.abc import Iterator
from typing import Any

import msgspec

from meshlight.backends.quote import clean
from meshlight.domain.errors import Untranslated
from meshlight.gateway.translation.chat_shape import Choice, Chunk
from meshlight.gateway.translation.openai_error import error_message
from meshlight.gateway.translation.sse import Event, SseParser
from meshlight.gateway.translation.well_formed import decode

WHOLE_MAX = 64 << 20
"""Bytes of an answer that comes in one piece."""
_TITLE_MAX = 300
_SNIFFED = 64
_EVENT = (b"data:", b"event:", b"id:", b"retry:", b"error:", b":")


class TextChoice(Choice, frozen=True):
    """A choice of chat completions or of completions."""

    text: str | None = None
    """Of completions."""
    logprobs: Any = None


class TextChunk(Chunk, frozen=True):
    """A chunk of either, or a whole answer."""

    choices: tuple[TextChoice, ...] | None = None
    timings: Any = None
    """llama.cpp: how long it took, in milliseconds (`prompt_ms`, `predicted_ms`)."""


_decoder = msgspec.json.Decoder(TextChunk)


class Reader:
    """Takes the pieces of a body, split anywhere; None among the chunks is the end of the answer."""

    __slots__ = ("_may_be_events", "_parser", "_whole")

    def __init__(self) -> None:
        self._parser: SseParser | None = None
        self._whole = bytearray()
        """An answer in one piece, or the first bytes of one that has not shown yet what it is."""
        self._may_be_events = True

    def begin(self, content_type: bytes) -> None:
        """Learn whether events come; where the server does not say, the first byte will."""
        kind = content_type.lower()
        if b"event-stream" in kind:
            self._parser = SseParser()
        self._may_be_events = b"json" not in kind

    def feed(self, data: bytes) -> Iterator[TextChunk | None]:
        """Give the chunks that `data` completes; raises Untranslated after those that came before the fault."""
        if self._parser is None:
            self._whole += data
            if len(self._whole) > WHOLE_MAX:
                raise Untranslated(f"It sent an answer of more than {WHOLE_MAX >> 20} MiB.")
            if not (self._may_be_events and _is_event(self._whole)):
                return
            self._parser = SseParser()
            data = bytes(self._whole)
            self._whole.clear()
        yield from map(_chunk, _useful(self._parser.feed(data)))

    def end(self) -> Iterator[TextChunk | None]:
        """Give what the end of the body completes; raises Untranslated."""
        if self._parser is not None:
            yield from map(_chunk, _useful(self._parser.end()))
        elif self._whole.strip():
            yield _chunk(Event(bytes(self._whole)))


def no_answer(error: Exception) -> Untranslated:
    """Return the fault of a body that can't be decoded."""
    said = "it is nested too deeply." if isinstance(error, RecursionError) else "it is not JSON."
    if isinstance(error, msgspec.ValidationError):
        said = clean(f"{error}.", _TITLE_MAX)
    return Untranslated(f"It sent something that is no answer: {said}")


def told_error(data: bytes) -> Untranslated:
    """Return the fault that the backend itself tells of."""
    return Untranslated(f"It sent an error in place of an answer: {clean(error_message(data), _TITLE_MAX)}")


def _useful(events: list[Event]) -> Iterator[Event]:
    return (event for event in events if event.data.strip() or event.name == b"error")


def _chunk(event: Event) -> TextChunk | None:
    if event.data == b"[DONE]":
        return None
    if event.name == b"error":
        raise told_error(event.data)
    try:
        chunk = decode(event.data, _decoder)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise no_answer(error) from None
    if chunk.error or chunk.object == "error":
        raise told_error(event.data)
    return chunk


def _is_event(start: bytearray) -> bool:
    """Whether an answer that does not say what it is begins as events do."""
    return bytes(start[:_SNIFFED]).lstrip(b"\xef\xbb\xbf\r\n").startswith(_EVENT)
