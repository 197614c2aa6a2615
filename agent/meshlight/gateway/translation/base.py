"""What a translation consists of: the request as the backend takes it, and the way back for its answer."""

from typing import Protocol

from msgspec import Struct

from meshlight.domain.operations import Operation


class ResponseTranslator(Protocol):
    """Turns the answer to a translated request into the protocol of the caller: one object per attempt.

    `begin`, then `feed` for each piece, then `end`. A fault is raised once, after all that came before it was
    returned; afterwards only `broken` may be called.
    """

    @property
    def content_type(self) -> bytes:
        """The media type of what `feed` and `end` return; `error` always returns `application/json` text."""

    @property
    def waiting(self) -> int:
        """Bytes that are kept of an event, or a whole answer, that has not come to its end."""

    def begin(self, content_type: bytes) -> None:
        """Hear the upstream's `content-type` (empty when it named none) before the first piece of a 200 body."""

    def feed(self, data: bytes) -> bytes:
        """Take a piece of a 200 body, split anywhere, and return what the client gets now; often nothing.

        Raises Untranslated.
        """

    def end(self) -> bytes:
        """Hear that the body ended as it should, and return the rest of the answer.

        Raises Untranslated when what came is no whole answer.
        """

    def broken(self, why: str) -> bytes | None:
        """Return the protocol's own error event for an answer that broke off; None: only a cut can say so."""

    def error(self, status: int, body: bytes) -> bytes:
        """Return a failing answer of the upstream in the caller's shape; the status itself stays as it is."""


class TranslatedRequest(Struct, frozen=True):
    """A request to be sent to `face` in place of the one that came."""

    operation: Operation
    body: bytes
    back: ResponseTranslator
    dropped: tuple[str, ...] = ()
    """The fields that were left out, though the client sent them."""
