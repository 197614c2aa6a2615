"""A backend's answer in the caller's protocol: read like any other response, translated while it arrives."""

import asyncio
from collections.abc import Callable

from meshlight.backends.large_work import in_thread_if_large
from meshlight.gateway.inference.upstream_errors import REFUSAL_LIMIT
from meshlight.gateway.translation.base import ResponseTranslator
from meshlight.http_client.client import Headers, Response
from meshlight.http_client.response import Push

SLICE = 1 << 14
"""Bytes that are translated before other tasks run: they may hold a thousand small events."""
HELD_DIVISOR = 16
"""Bytes that are decoded and held cost so much less work than bytes that are still to be decoded."""
_CHANGED = frozenset({b"content-type", b"content-length", b"content-encoding"})


class ImmediateResponse:
    """Has the interface of a complete Response, for an answer that needs no backend."""

    __slots__ = ("headers", "is_complete", "reused", "status")

    def __init__(self, content_type: bytes, size: int) -> None:
        self.status = 200
        self.reused = False
        self.is_complete = True
        self.headers: Headers = ((b"content-type", content_type), (b"content-length", b"%d" % size))

    async def read(self, push: Push | None = None) -> bytes:  # noqa: ARG002 - as in Response
        """Return nothing more."""
        return b""

    def abort(self) -> None:
        """Do nothing: no connection is held."""


class TranslatedResponse:
    """Has the interface of a Response. A failing answer is read in full before its message is translated."""

    __slots__ = (
        "_first",
        "_held",
        "_inner",
        "_rest",
        "_translator",
        "headers",
        "is_complete",
        "reused",
        "status",
    )

    def __init__(self, inner: Response, translator: ResponseTranslator, first: bytes = b"") -> None:
        """`first` are the bytes of the answer that were read already."""
        self._inner = inner
        self._first = first
        self._rest = memoryview(b"")
        """Received, and not translated yet."""
        self._held = 0
        """Bytes that the translator was given since it last returned any."""
        self._translator = translator
        self.status = inner.status
        self.reused = inner.reused
        self.is_complete = False
        """Whether the last piece has been read."""
        content_type = next((value for name, value in inner.headers if name == b"content-type"), b"")
        own_type = translator.content_type if inner.status < 400 else b"application/json"
        kept = [pair for pair in inner.headers if pair[0] not in _CHANGED]
        self.headers: Headers = (*kept, (b"content-type", own_type))
        if inner.status < 400:
            translator.begin(content_type)

    async def read(
        self,
        push: Push | None = None,  # noqa: ARG002 — each piece must be translated
        *,
        on_piece: Callable[[], None] | None = None,
    ) -> bytes:
        """Return the next translated bytes, `b""` at the end; raises the UpstreamErrors.

        `on_piece` is called for each piece received, also for those of which nothing is passed on.
        """
        if self.is_complete:
            return b""
        if self.status >= 400:
            return await self._error()
        while True:
            if not self._rest:
                piece, self._first = self._first or await self._inner.read(), b""
                if not piece:
                    break
                if on_piece is not None:
                    on_piece()
                self._rest = memoryview(piece)
            else:
                await asyncio.sleep(0)
            data, self._rest = bytes(self._rest[:SLICE]), self._rest[SLICE:]
            self._held += len(data)
            work = self._translator.waiting + len(data) + self._held // HELD_DIVISOR
            translated = await in_thread_if_large(work, self._translator.feed, data)
            if translated:
                self._held = 0
                return translated
        self.is_complete = True
        return await in_thread_if_large(self._held, self._translator.end)

    def at_once(self) -> bytes:
        """Return a whole translated answer whose bytes were all read already; empty for one that comes in pieces.

        After an empty one, the answer has to be translated anew.
        """
        if self.status >= 400 or len(self._first) > SLICE or self._translator.feed(self._first):
            return b""
        self.is_complete = True
        return self._translator.end()

    def abort(self) -> None:
        """Close the connection if the answer still holds one."""
        self._inner.abort()

    async def _error(self) -> bytes:
        pieces = [self._first]
        size = len(self._first)
        while size <= REFUSAL_LIMIT and (piece := await self._inner.read()):
            pieces.append(piece)
            size += len(piece)
        self._inner.abort()
        self.is_complete = True
        return self._translator.error(self.status, b"".join(pieces))
