"""A streaming answer: what has come, who waits for more, and how it ended."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from meshlight.domain.errors import UpstreamError

Headers = Sequence[tuple[bytes, bytes]]
Push = Callable[[bytes], bool]
"""Takes a piece of a body and says whether it did; what it does not take is read."""

HIGH_WATER = 256 * 1024
"""Bytes that may lie unread before the server is made to wait."""


class Reply(Struct, frozen=True):
    """A whole small answer, for probes."""

    status: int
    headers: Headers
    """Names are lower-case."""
    body: bytes
    elapsed_s: float
    """From the request's write to the answer's head, without the time to connect."""
    reused: bool
    """Whether the connection had served an earlier exchange, so that `elapsed_s` is a warm latency."""


class Source(Protocol):
    """Where an answer's bytes come from, as the answer sees it."""

    loop: asyncio.AbstractEventLoop

    def resume(self) -> None:
        """Let the server send again."""

    def abort(self) -> None:
        """Close the connection at once."""


class Response:
    """An answer whose head has come, and whose body is still coming or lies here already.

    The reader reads until `b""` or calls `abort()`; calling `abort()` after the end is harmless, so that a
    `finally` may always do it. A body that came whole no longer holds its connection, read or not.
    """

    __slots__ = (
        "_error",
        "_pieces",
        "_push",
        "_source",
        "_waiter",
        "first_byte_at",
        "headers",
        "reused",
        "sent_at",
        "status",
        "unread",
    )

    def __init__(
        self,
        source: Source,
        status: int,
        headers: list[tuple[bytes, bytes]],
        *,
        reused: bool,
        sent_at: float,
        first_byte_at: float,
    ) -> None:
        self.status = status
        self.headers = headers
        """Names are lower-case; values are as they came, without surrounding blanks."""
        self.reused = reused
        """Whether the connection had served an earlier exchange."""
        self.sent_at = sent_at
        """When the request was written, in seconds of `time.monotonic()`."""
        self.first_byte_at = first_byte_at
        """When the head had come, in seconds of `time.monotonic()`."""
        self.unread = 0
        """Bytes of the body that have come and were not read."""
        self._source: Source | None = source
        self._pieces: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._push: Push | None = None
        self._error: UpstreamError | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the body has come to its clean end, so that the next `read()` gives all that is left."""
        return self._source is None and self._error is None

    async def read(self, push: Push | None = None) -> bytes:
        """Return the body bytes that have come since the last call; `b""` at the clean end.

        Waits only when nothing has come. Raises ConnectionLost or BadReply once everything before the break
        was read. A cancelled read closes the connection.

        With `push`, the pieces that come while this waits are handed to it as they come, which spares a turn of
        the event loop for each; this returns with the first piece that `push` does not take, or with the last.
        """
        pieces = self._pieces
        while not pieces and self._source is not None:  # what came may have been framing alone
            await self._more(self._source, push)
        if not pieces:
            if self._error is not None:
                raise self._error
            return b""
        if len(pieces) == 1:
            data = pieces.pop()
        else:
            data = b"".join(pieces)
            pieces.clear()
        if self.unread > HIGH_WATER and self._source is not None:
            self._source.resume()
        self.unread = 0
        return data

    def abort(self) -> None:
        """Close the connection at once; a pending `read()` raises ConnectionLost."""
        if self._source is not None:
            self._pieces.clear()
            self._source.abort()

    async def _more(self, source: Source, push: Push | None) -> None:
        if self._waiter is not None:
            raise RuntimeError("another read() is waiting already")
        waiter = self._waiter = source.loop.create_future()
        self._push = push
        try:
            await waiter
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._waiter = None

    # What follows is for the connection that feeds this answer.

    def feed(self, piece: bytes) -> None:
        """Add a piece of the body; the reader is woken by `wake`, once for all pieces of one read."""
        self._pieces.append(piece)
        self.unread += len(piece)

    def wake(self) -> None:
        """Let a waiting reader go on."""
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        pieces = self._pieces
        if self._push is not None and self._source is not None and pieces:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if self._push(data):
                pieces.clear()
                if self.unread > HIGH_WATER:
                    self._source.resume()
                self.unread = 0
                return
        waiter.set_result(None)

    def end(self) -> None:
        """Note the clean end; from here on the connection is no business of this answer."""
        self._source = None

    def fail(self, error: UpstreamError) -> None:
        """Note an end that is no clean one."""
        self._source = None
        self._error = error
        self.wake()
