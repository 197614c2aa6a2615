"""Translates answers of chat completions to Anthropic's Messages API."""

from meshlight.gateway.translation.answer_translator import AnswerTranslator
from meshlight.gateway.translation.anthropic.errors import error_body, error_event, error_type
from meshlight.gateway.translation.anthropic.stream_builder import AnswerOptions, StreamBuilder
from meshlight.gateway.translation.anthropic.writer import EventWriter, MessageWriter
from meshlight.gateway.translation.chat import error_message, own_error
from meshlight.gateway.translation.chat_schema import Chunk


class MessagesTranslator(AnswerTranslator[StreamBuilder]):
    """Translates one answer to a message, or to its events."""

    __slots__ = ("_fault_type",)

    def __init__(self, options: AnswerOptions) -> None:
        writer = EventWriter() if options.is_stream else MessageWriter()
        super().__init__(StreamBuilder(options, writer), writer, is_stream=options.is_stream)
        self._fault_type = "api_error"

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

    def _add(self, chunk: Chunk, data: bytes) -> None:
        self._builder.take(chunk, data)

    def _note_error(self, data: bytes) -> None:
        code = own_error(data).get("code")
        if isinstance(code, int) and 400 <= code <= 599:
            self._fault_type = error_type(code)
