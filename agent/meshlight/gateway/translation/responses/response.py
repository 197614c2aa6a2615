"""Translates answers of chat completions to OpenAI's Responses API."""

import re
from collections.abc import Callable

import msgspec

from meshlight.gateway.translation.answer_translator import AnswerTranslator
from meshlight.gateway.translation.chat import error_message, own_error
from meshlight.gateway.translation.chat_schema import Chunk
from meshlight.gateway.translation.responses.stream_builder import AnswerOptions, StreamBuilder
from meshlight.gateway.translation.responses.writer import EventWriter, ObjectWriter

BROKEN = "server_error"
_WORD = re.compile(r"[a-z][a-z_]{0,60}\Z")


class ResponsesTranslator(AnswerTranslator[StreamBuilder]):
    """Translates one answer to a response, or to its events."""

    __slots__ = ("_fault_code",)

    def __init__(self, options: AnswerOptions, clock: Callable[[], float]) -> None:
        writer = EventWriter() if options.is_stream else ObjectWriter()
        super().__init__(StreamBuilder(options, writer, clock), writer, is_stream=options.is_stream)
        self._fault_code = BROKEN

    def broken(self, why: str) -> bytes | None:
        """Return `response.failed`; empty if the answer is complete, None if it is one JSON object."""
        if not self._is_stream:
            return None
        if not self._builder.is_finished:
            self._builder.fail(self._fault_code, why)
        return self._writer.take()

    def error(self, status: int, body: bytes) -> bytes:
        """Return OpenAI's error object with the backend's own message, and its type and code if it has them."""
        own = own_error(body)
        kind = "invalid_request_error" if 400 <= status < 500 else "api_error"
        fields = {
            "message": error_message(body, status),
            "type": _word(own.get("type")) or kind,
            "param": own["param"][:200] if isinstance(own.get("param"), str) else None,
            "code": _word(own.get("code")),
        }
        return msgspec.json.encode({"error": fields})

    def _add(self, chunk: Chunk, data: bytes) -> None:  # noqa: ARG002 - its ids are ours
        self._builder.take(chunk)

    def _note_error(self, data: bytes) -> None:
        code = own_error(data).get("code")
        self._fault_code = "rate_limit_exceeded" if code == 429 else _word(code) or BROKEN


def _word(value: object) -> str | None:
    return value if isinstance(value, str) and _WORD.match(value) else None
