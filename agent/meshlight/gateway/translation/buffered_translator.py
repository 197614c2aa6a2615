"""Base of the translators of an answer that is one JSON object."""

from meshlight.gateway.translation.chat import BodyBuffer


class BufferedTranslator:
    """Collects an answer until its end."""

    __slots__ = ("_body",)

    content_type = b"application/json"

    def __init__(self) -> None:
        self._body = BodyBuffer()

    def begin(self, content_type: bytes) -> None:
        """Ignore the content type: the answer is JSON, or an error."""

    @property
    def waiting(self) -> int:
        """Return the number of buffered bytes."""
        return len(self._body.data)

    def feed(self, data: bytes) -> bytes:
        """Add a piece; raises TranslationFailed above the limit."""
        self._body.add(data)
        return b""
