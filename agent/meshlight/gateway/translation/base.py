"""The two parts of a translation: the request for the backend, and the translator of its answer."""

from typing import Protocol

from meshlight.domain.operations import Operation


class ResponseTranslator(Protocol):
    """Translates the answer to a translated request into the protocol of the caller; one object per attempt.

    Call `begin`, then `feed` for each piece, then `end`. A fault is raised after everything before it was returned;
    afterwards only `broken` may be called.
    """

    @property
    def content_type(self) -> bytes:
        """The media type of what `feed` and `end` return; `error` always returns `application/json` text."""

    @property
    def waiting(self) -> int:
        """Bytes that are buffered of an incomplete event or answer."""

    def begin(self, content_type: bytes) -> None:
        """Set the upstream's `content-type` (empty if it sent none), before the first piece of a 200 body."""

    def feed(self, data: bytes) -> bytes:
        """Translate a piece of a 200 body, split anywhere; return the bytes for the client, often none.

        Raises TranslationFailed.
        """

    def end(self) -> bytes:
        """Return the rest of the answer, after the regular end of the body.

        Raises TranslationFailed if the answer is incomplete.
        """

    def broken(self, why: str) -> bytes | None:
        """Return the protocol's error event for a broken answer; None if the connection must be cut instead."""

    def error(self, status: int, body: bytes) -> bytes:
        """Return the body of a failing answer in the caller's format; the status is passed on unchanged."""


class TranslatedRequest:
    """The request that is sent to `operation` in place of the original one."""

    __slots__ = ("back", "body", "dropped", "operation")

    def __init__(
        self, operation: Operation, body: bytes, back: ResponseTranslator, dropped: tuple[str, ...] = ()
    ) -> None:
        self.operation = operation
        self.body = body
        self.back = back
        self.dropped = dropped
        """The names of fields of the original that were left out."""
