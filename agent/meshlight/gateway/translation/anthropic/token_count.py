"""Translates an answer of one token into the number of tokens of its prompt."""

import msgspec

from meshlight.domain.errors import TranslationFailed
from meshlight.gateway.translation.anthropic.errors import error_body, error_type
from meshlight.gateway.translation.buffered_translator import BufferedTranslator
from meshlight.gateway.translation.chat import error_message, read, reported_error
from meshlight.gateway.translation.chat_schema import Chunk

_decoder = msgspec.json.Decoder(Chunk)


class TokenCountTranslator(BufferedTranslator):
    """Translates one answer."""

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
