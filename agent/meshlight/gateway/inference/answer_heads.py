"""Heads of answers that were sent before: what the next ones have in common with them is not built again."""

from typing import Final

from meshlight.gateway.inference.headers import new_request_id

_IN_CHUNKS: Final = b"transfer-encoding: chunked\r\n\r\n"
"""How the head of an answer in chunks ends."""


class AnswerHead:
    """A head as clients get it, but for what differs from answer to answer."""

    __slots__ = ("_after", "_before")

    def __init__(self, before: bytes, after: list[bytes]) -> None:
        self._before = before
        self._after = after

    def written(self, length: int, why: bytes) -> bytes:
        """Return the head for a body of this length; `why` is the header that says why the backend was chosen."""
        after = self._after
        rest = after[0] if len(after) == 1 else new_request_id().join(after)
        return b"%b%d%b%b\r\n" % (self._before, length, rest, why)


def answer_head(head: bytes, length: int, own_id: bytes, why: bytes) -> AnswerHead | None:
    """Return what the next ones have in common with a head that was sent; None if that can't be told.

    `own_id` is the id that was made for the request, empty if the backend's was passed on.
    """
    before, found, rest = head.partition(b"\r\ncontent-length: %d\r\n" % length)
    if not found or not rest.endswith(why + b"\r\n"):
        return None
    after = b"\r\n" + rest[: len(rest) - len(why) - 2]
    return AnswerHead(before + b"\r\ncontent-length: ", after.split(own_id) if own_id else [after])


class ChunkedHead:
    """The same for an answer in chunks."""

    __slots__ = ("_parts",)

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts

    def written(self, why: bytes) -> bytes:
        """Return the head; `why` is as in `AnswerHead`."""
        parts = self._parts
        head = parts[0] if len(parts) == 1 else new_request_id().join(parts)
        return b"%b%b%b" % (head, why, _IN_CHUNKS)


class StreamHead(ChunkedHead):
    """The same for an answer that is passed on in the backend's chunks."""

    __slots__ = ()


class TranslatedHead(ChunkedHead):
    """The same for a translated answer, which goes out in one chunk."""

    __slots__ = ("content_type",)

    def __init__(self, parts: list[bytes], content_type: bytes) -> None:
        super().__init__(parts)
        self.content_type = content_type
        """That of the backend's answer."""


def stream_head(head: bytes, own_id: bytes, why: bytes) -> StreamHead | None:
    """Return the same as `answer_head` for an answer that is passed on in chunks."""
    parts = _before_chunks(head, own_id, why)
    return None if parts is None else StreamHead(parts)


def translated_head(head: bytes, own_id: bytes, why: bytes, content_type: bytes) -> TranslatedHead | None:
    """Return the same for a translated answer; `content_type` is that of the backend's."""
    parts = _before_chunks(head, own_id, why)
    return None if parts is None else TranslatedHead(parts, content_type)


def _before_chunks(head: bytes, own_id: bytes, why: bytes) -> list[bytes] | None:
    end = why + _IN_CHUNKS
    if not head.endswith(end):
        return None
    rest = head[: len(head) - len(end)]
    return rest.split(own_id) if own_id else [rest]
