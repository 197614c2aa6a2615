"""Translates answers of chat completions to Anthropic's Messages API.

Errors have Anthropic's format: `{"type": "error", "error": {"type", "message"}}` (API reference, "Errors").
"""

from collections.abc import Iterable

import msgspec

from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation.anthropic.stream_builder import AnswerOptions, StreamBuilder
from meshlight.gateway.translation.anthropic.writer import EventWriter, MessageWriter
from meshlight.gateway.translation.chat import (
    AnswerReader,
    BufferedTranslator,
    Chunk,
    error_message,
    read,
    reported_error,
)
from meshlight.gateway.translation.sse import Event

_decoder = msgspec.json.Decoder(Chunk)


class MessagesTranslator:
    """Translates one answer. The backend may send a stream or one object, whatever was requested."""

    __slots__ = (
        "_builder",
        "_events",
        "_fault",
        "_fault_type",
        "_is_stream",
        "_writer",
    )

    def __init__(self, options: AnswerOptions) -> None:
        self._is_stream = options.is_stream
        self._writer = EventWriter() if options.is_stream else MessageWriter()
        self._builder = StreamBuilder(options, self._writer)
        self._events = AnswerReader(comments=True)
        self._fault: TranslationFailed | None = None
        self._fault_type = "api_error"

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
        """Return `event: error`; empty if the answer is complete, None if it is one JSON object."""
        if not self._is_stream:
            return None
        rest = self._writer.take()
        if self._builder.is_finished:
            return rest
        return rest + error_event(self._fault_type, why)

    def error(self, status: int, body: bytes) -> bytes:
        """Return Anthropic's error object with the backend's own message."""
        return error_body(error_type(status), error_message(body, status))

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
                raise self._reported_fault(event.data, None)
            elif event.data.strip():
                self._chunk(event.data)

    def _chunk(self, data: bytes) -> None:
        chunk = read(data, _decoder)
        if chunk.error or chunk.object == "error":
            raise self._reported_fault(data, chunk.error)
        self._builder.take(chunk, data)

    def _reported_fault(self, data: bytes, error: object) -> TranslationFailed:
        """Return the fault for an error that the backend reports."""
        code = error.get("code") if isinstance(error, dict) else None
        if isinstance(code, int) and 400 <= code <= 599:
            self._fault_type = error_type(code)
        return reported_error(data)


class TokenCountTranslator(BufferedTranslator):
    """Translates an answer of one token into the number of tokens of its prompt."""

    __slots__ = ()

    def end(self) -> bytes:
        """Return `{"input_tokens": …}`; raises TranslationFailed if the backend sent no count."""
        data = self._body.take()
        chunk = read(data, _decoder)
        if chunk.error:
            raise reported_error(data)
        count = chunk.usage.get("prompt_tokens") if isinstance(chunk.usage, dict) else None
        if not isinstance(count, int) or count < 0:
            raise TranslationFailed("It does not say how many tokens the prompt has.")
        return b'{"input_tokens":%d}' % count

    def broken(self, why: str) -> None:
        """Return None: half a JSON object can't be repaired."""

    def error(self, status: int, body: bytes) -> bytes:
        """Return Anthropic's error object with the backend's own message."""
        return error_body(error_type(status), error_message(body, status))


_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_encode = msgspec.json.Encoder().encode


def error_type(status: int) -> str:
    """Return Anthropic's error type for an HTTP status."""
    return _TYPES.get(status, "invalid_request_error" if 400 <= status < 500 else "api_error")


def error_body(kind: str, message: str) -> bytes:
    """Return the body of a failing answer."""
    return _encode({"type": "error", "error": {"type": kind, "message": message}})


def error_event(kind: str, message: str) -> bytes:
    """Return the event that ends a broken stream."""
    return b"event: error\ndata: %s\n\n" % error_body(kind, message)
