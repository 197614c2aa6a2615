"""A response whose body is still arriving."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Protocol

from meshlight.domain.errors import UpstreamError
from meshlight.http_client.known_heads import KnownHead

Push = Callable[[bytes, bytes], bool]
"""Called with a piece of a body; returns whether it has taken it. A piece that is not taken is read.

The second argument is the same as it came, with its size before it, if that was one whole chunk; else it is empty.
"""

HIGH_WATER: Final = 256 * 1024
"""Unread bytes above which reading from the server pauses."""


class Source(Protocol):
    """The source of a response's bytes: a connection."""

    loop: asyncio.AbstractEventLoop

    def resume(self) -> None:
        """Read from the server again."""

    def abort(self) -> None:
        """Close the connection at once."""


class ResponseListener(ABC):
    """Who is told of a response at once, instead of waiting for it in a task."""

    @abstractmethod
    def set_result(self, response: "Response", /) -> None:
        """The response's head has arrived."""

    @abstractmethod
    def set_exception(self, error: UpstreamError, /) -> None:
        """There will be none."""

    @abstractmethod
    def done(self) -> bool:
        """Whether nobody waits for it any more."""

    @abstractmethod
    def arrived(self) -> None:
        """Something has arrived of a response that it listens to, or the end."""


class Response:
    """A response whose head has arrived, and whose body is arriving or complete.

    The reader reads until `b""` or calls `abort()`; calling `abort()` after the end does nothing, so that a
    `finally` may always do it. A complete body does not occupy its connection any more, read or not.
    """

    __slots__ = (
        "_error",
        "_headers",
        "_pieces",
        "_push",
        "_source",
        "_waiter",
        "first_byte_at",
        "known",
        "length",
        "listener",
        "on_chunk",
        "reused",
        "sent_at",
        "status",
        "unread",
    )

    def __init__(
        self,
        source: Source,
        status: int,
        headers: list[tuple[bytes, bytes]] | None,
        *,
        reused: bool,
        sent_at: float,
        first_byte_at: float,
        known: KnownHead | None = None,
        length: int = 0,
    ) -> None:
        self.known = known
        """Its head, where that is one that was read before; `headers` need not be given then, but the length."""
        self.length = length
        self.status = status
        self._headers = headers
        self.reused = reused
        """Whether the connection had carried an earlier exchange."""
        self.sent_at = sent_at
        """When the request was written, in seconds of `time.monotonic()`."""
        self.first_byte_at = first_byte_at
        """When the head had arrived, in seconds of `time.monotonic()`."""
        self.unread = 0
        """Bytes of the body that have arrived and are not read yet."""
        self._source: Source | None = source
        self._pieces: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._push: Push | None = None
        self.listener: ResponseListener | None = None
        """Who is told, instead of a `read` that waits, when something has arrived."""
        self.on_chunk: Push | None = None
        """The same for a chunk that came alone, which it may take before anything else does."""
        self._error: UpstreamError | None = None

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Names are lower-case; values are unchanged, without surrounding spaces.

        Those of a known head are made when somebody reads them for the first time: nobody may.
        """
        if self._headers is None:
            self._headers = [] if self.known is None else self.known.headers(self.length)
        return self._headers

    @property
    def is_complete(self) -> bool:
        """Whether the body has ended cleanly, so that the next `read()` returns the rest of it."""
        return self._source is None and self._error is None

    @property
    def has_failed(self) -> bool:
        """Whether the body has broken off, so that a `read()` raises once it has returned what arrived before."""
        return self._error is not None

    def arrived(self) -> bytes:
        """Return what has arrived and is not read yet; it stays unread."""
        pieces = self._pieces
        if len(pieces) > 1:
            pieces[:] = [b"".join(pieces)]
        return pieces[0] if pieces else b""

    def take(self) -> bytes:
        """Return what has arrived and is not read yet, without waiting for more."""
        pieces = self._pieces
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        if self.unread > HIGH_WATER and self._source is not None:
            self._source.resume()
        self.unread = 0
        return data

    async def read(self, push: Push | None = None) -> bytes:
        """Return the body bytes that have arrived since the last call; `b""` at the clean end.

        Waits only when there are none. Raises ReadError or RemoteProtocolError once everything before the failure
        was read. A cancelled read closes the connection.

        With `push`, the pieces that arrive while this waits are passed to it at once, which saves a turn of the event
        loop for each; this returns with the first piece that `push` does not take, or at the end.
        """
        pieces = self._pieces
        while not pieces and self._source is not None:  # what arrived may have been framing only
            await self._wait(self._source, push)
        if not pieces:
            if self._error is not None:
                raise self._error
            return b""
        return self.take()

    def abort(self) -> None:
        """Close the connection at once; a pending `read()` raises ReadError."""
        if self._source is not None:
            self._pieces.clear()
            self._source.abort()

    async def _wait(self, source: Source, push: Push | None) -> None:
        if self._waiter is not None:
            raise RuntimeError("another read() is waiting already")
        waiter = self._waiter = source.loop.create_future()
        self._push = push
        self.on_chunk = None if push is None else self._push_chunk
        try:
            await waiter
        except asyncio.CancelledError:
            self.abort()
            raise
        finally:
            self._waiter = self._push = self.on_chunk = None

    def _push_chunk(self, piece: bytes, chunk: bytes) -> bool:
        """Pass on a chunk while a reader waits."""
        waiter, push = self._waiter, self._push
        return waiter is not None and push is not None and not waiter.done() and push(piece, chunk)

    # --- for the connection that feeds this response

    def feed(self, piece: bytes) -> None:
        """Add a piece of the body; `wake` notifies the reader, once for all pieces of one read."""
        self._pieces.append(piece)
        self.unread += len(piece)

    def wake(self) -> None:
        """Notify a waiting reader."""
        if self.listener is not None:
            self.listener.arrived()
            return
        waiter = self._waiter
        if waiter is None or waiter.done():
            return
        pieces = self._pieces
        if self._push is not None and self._source is not None and pieces:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            if self._push(data, b""):
                pieces.clear()
                if self.unread > HIGH_WATER:
                    self._source.resume()
                self.unread = 0
                return
        waiter.set_result(None)

    def end(self) -> None:
        """Mark the clean end, and let go of the connection."""
        self._source = None

    def fail(self, error: UpstreamError) -> None:
        """Mark the end with an error."""
        self._source = None
        self._error = error
        self.wake()
