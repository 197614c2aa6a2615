"""Translates answers of chat completions to OpenAI's Responses API."""

import re
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation.chat import AnswerReader, Chunk, error_message, read, reported_error
from meshlight.gateway.translation.responses.stream_builder import AnswerOptions, StreamBuilder
from meshlight.gateway.translation.responses.writer import EventWriter, ObjectWriter
from meshlight.gateway.translation.sse import Event

BROKEN = "server_error"
_WORD = re.compile(r"[a-z][a-z_]{0,60}\Z")
_decoder = msgspec.json.Decoder(Chunk)


class ResponsesTranslator:
    """Translates one answer. The backend may send a stream or one object, whatever was requested."""

    __slots__ = ("_builder", "_events", "_fault", "_fault_code", "_is_stream", "_writer")

    def __init__(self, options: AnswerOptions, clock: Callable[[], float]) -> None:
        self._is_stream = options.is_stream
        self._writer = EventWriter() if options.is_stream else ObjectWriter()
        self._builder = StreamBuilder(options, self._writer, clock)
        self._events = AnswerReader(comments=True)
        self._fault: TranslationFailed | None = None
        self._fault_code = BROKEN

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

    def broken(self, why: str) -> bytes | None:
        """Return `response.failed`; empty if the answer is complete, None if it is one JSON object."""
        if not self._is_stream:
            return None
        if not self._builder.is_finished:
            self._builder.fail(self._fault_code, why)
        return self._writer.take()

    def error(self, status: int, body: bytes) -> bytes:
        """Return OpenAI's error object with the backend's own message, and its type and code if it has them."""
        own = _own_error(body)
        kind = "invalid_request_error" if 400 <= status < 500 else "api_error"
        fields = {
            "message": error_message(body, status),
            "type": _word(own.get("type")) or kind,
            "param": own["param"][:200] if isinstance(own.get("param"), str) else None,
            "code": _word(own.get("code")),
        }
        return msgspec.json.encode({"error": fields})

    def _raise_fault(self) -> None:
        if self._fault is not None:
            raise self._fault

    def _take(self, events: Iterable[Event]) -> None:
        for event in events:
            if self._builder.is_finished:
                return
            if event.is_comment:
                self._builder.ping()
            elif event.data.strip() == b"[DONE]":
                self._builder.finish(has_end_mark=True)
            elif event.name == b"error":
                raise self._reported_fault(event.data)
            elif event.data.strip():
                self._chunk(event.data)

    def _chunk(self, data: bytes) -> None:
        chunk = read(data, _decoder)
        if chunk.error or chunk.object == "error":
            raise self._reported_fault(data)
        self._builder.take(chunk)

    def _reported_fault(self, data: bytes) -> TranslationFailed:
        """Return the fault for an error that the backend reports."""
        code = _own_error(data).get("code")
        self._fault_code = "rate_limit_exceeded" if code == 429 else _word(code) or BROKEN
        return reported_error(data)


def _own_error(body: bytes) -> dict[str, Any]:
    found = decode_or_none(body)
    error = found.get("error") if isinstance(found, dict) else None
    return error if isinstance(error, dict) else {}


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and _WORD.match(value) else None
