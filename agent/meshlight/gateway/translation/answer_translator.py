"""What the translations of chat completions' answers have in common, whatever they translate to."""

from abc import ABC, abstractmethod
from typing import Final, Generic, Protocol, TypeVar

import msgspec

from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation.chat import AnswerReader, read, reported_error
from meshlight.gateway.translation.chat_schema import Chunk
from meshlight.gateway.translation.sse import Event

_decoder: Final = msgspec.json.Decoder(Chunk)


class AnswerBuilder(Protocol):
    """Builds the answer in the client's protocol."""

    is_finished: bool

    def finish(self, *, has_end_mark: bool) -> None:
        """End the answer; raises TranslationFailed if it is incomplete."""

    def ping(self) -> None:
        """Write a sign of life, once the answer has begun."""


class AnswerWriter(Protocol):
    """Holds what is written until it is sent."""

    def take(self) -> bytes:
        """Return what was written since the last call."""


Builder = TypeVar("Builder", bound=AnswerBuilder)


class AnswerTranslator(ABC, Generic[Builder]):
    """Translates one answer. The backend may send a stream or one object, whatever was requested."""

    __slots__ = ("_builder", "_events", "_fault", "_is_stream", "_writer")

    def __init__(self, builder: Builder, writer: AnswerWriter, *, is_stream: bool) -> None:
        self._builder = builder
        self._writer = writer
        self._is_stream = is_stream
        self._events = AnswerReader(comments=True)
        self._fault: TranslationFailed | None = None

    @abstractmethod
    def _add(self, chunk: Chunk, data: bytes) -> None:
        """Add a chunk, whose JSON is `data`, to the answer; raises TranslationFailed."""

    @abstractmethod
    def _note_error(self, data: bytes) -> None:
        """Remember of what kind the error is that the backend reports."""

    @property
    def content_type(self) -> bytes:
        """Return the requested media type."""
        return b"text/event-stream; charset=utf-8" if self._is_stream else b"application/json"

    @property
    def waiting(self) -> int:
        """Return the number of buffered bytes."""
        return self._events.waiting

    def begin(self, content_type: bytes) -> None:
        """Set the content type, which says whether events come; if it does not, the first bytes do."""
        self._events.begin(content_type)

    def feed(self, data: bytes) -> bytes:
        """Return the events that `data` completes; the next call raises TranslationFailed for a fault in them."""
        self._raise_fault()
        try:
            self._take(self._events.feed(data))
        except TranslationFailed as fault:
            self._fault = fault
        out = self._writer.take()
        if not out:
            self._raise_fault()
        return out

    def end(self) -> bytes:
        """Return the rest; raises TranslationFailed when the answer is incomplete."""
        self._raise_fault()
        self._take(self._events.end())
        if not self._builder.is_finished:
            self._builder.finish(has_end_mark=self._events.is_complete)
        return self._writer.take()

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _take(self, events: list[Event]) -> None:
        for event in events:
            if self._builder.is_finished:
                return
            data = event.data.strip()
            if event.is_comment:
                self._builder.ping()
            elif data == b"[DONE]":
                self._builder.finish(has_end_mark=True)
            elif event.name == b"error":
                raise self._reported_fault(event.data)
            elif data:
                self._chunk(event.data)

    def _chunk(self, data: bytes) -> None:
        chunk = read(data, _decoder)
        if chunk.error or chunk.object == "error":
            raise self._reported_fault(data)
        self._add(chunk, data)

    def _reported_fault(self, data: bytes) -> TranslationFailed:
        """Return the fault for an error that the backend reports."""
        self._note_error(data)
        return reported_error(data)
