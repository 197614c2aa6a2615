"""Translates answers of chat completions to Anthropic's Messages API."""

import msgspec

from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation.answer_translator import AnswerTranslator
from meshlight.gateway.translation.anthropic.errors import error_body, error_event, error_type
from meshlight.gateway.translation.anthropic.stream_builder import AnswerOptions, StreamBuilder
from meshlight.gateway.translation.anthropic.writer import EventWriter, MessageWriter
from meshlight.gateway.translation.chat import (
    BufferedTranslator,
    Chunk,
    error_message,
    own_error,
    read,
    reported_error,
)

_decoder = msgspec.json.Decoder(Chunk)


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
