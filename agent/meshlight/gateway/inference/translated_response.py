"""A backend's answer in the caller's protocol: read like any other response, translated while it arrives."""

import asyncio
from collections.abc import Callable
from typing import Final

from meshlight.backends.large_work import LARGE, in_thread_if_large
from meshlight.gateway.inference.upstream_errors import REFUSAL_LIMIT
from meshlight.gateway.translation.base import ResponseTranslator
from meshlight.http_client.client import Headers, Response
from meshlight.http_client.response import Push

SLICE: Final = 1 << 14
"""Bytes that are translated before other tasks run: they may hold a thousand small events."""
HELD_DIVISOR: Final = 16
"""Bytes that are decoded and held cost so much less work than bytes that are still to be decoded."""
_NOTHING: Final = memoryview(b"")
_CHANGED: Final = frozenset({b"content-type", b"content-length", b"content-encoding"})


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
        "_done",
        "_fault",
        "_first",
        "_held",
        "_inner",
        "_on_piece",
        "_push",
        "_ready",
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
        self._rest = _NOTHING
        """Received, and not translated yet."""
        self._held = 0
        """Bytes that the translator was given since it last returned any."""
        self._push: Push | None = None
        self._on_piece: Callable[[], None] | None = None
        self._done = 0
        """Bytes that `_translate_now` has translated and not passed on, at the beginning of what is read next."""
        self._ready = b""
        """What it made of them."""
        self._fault: Exception | None = None
        """What is wrong with them."""
        self._translator = translator
        self.status = inner.status
        self.reused = inner.reused
        self.is_complete = False
        """Whether the last piece has been read."""
        is_good = inner.status < 400
        own_type = translator.content_type if is_good else b"application/json"
        kept = [pair for pair in inner.headers if pair[0] not in _CHANGED]
        kept.append((b"content-type", own_type))
        self.headers: Headers = kept
        if is_good:
            translator.begin(content_type_of(inner.headers))

    async def read(
        self,
        push: Push | None = None,
        *,
        on_piece: Callable[[], None] | None = None,
    ) -> bytes:
        """Return the next translated bytes, `b""` at the end; raises the UpstreamErrors.

        `on_piece` is called for each piece received, also for those of which nothing is passed on. `push` is as in
        Response, but that it gets no whole chunks.
        """
        if self.is_complete:
            return b""
        if self.status >= 400:
            return await self._error()
        translator = self._translator
        while True:
            if self._rest:
                await asyncio.sleep(0)
                data, self._rest = bytes(self._rest[:SLICE]), self._rest[SLICE:]
            else:
                data, self._first = self._first or await self._received(push, on_piece), b""
                if self._done:
                    return self._translated(data)
                if not data:
                    break
                if on_piece is not None:
                    on_piece()
                if len(data) > SLICE:
                    data, self._rest = data[:SLICE], memoryview(data)[SLICE:]
            self._held += len(data)
            work = translator.waiting + len(data) + self._held // HELD_DIVISOR
            if work <= LARGE:
                translated = translator.feed(data)
            else:
                translated = await in_thread_if_large(work, translator.feed, data)
            if translated:
                self._held = 0
                return translated
        self.is_complete = True
        return await in_thread_if_large(self._held, translator.end)

    def abort(self) -> None:
        """Close the connection if the answer still holds one."""
        self._inner.abort()

    async def _received(self, push: Push | None, on_piece: Callable[[], None] | None) -> bytes:
        """Return the next bytes of the backend that were not passed to `push` in translation while this waited."""
        if push is None:
            return await self._inner.read()
        self._push, self._on_piece = push, on_piece
        try:
            return await self._inner.read(self._translate_now)
        finally:
            self._push = self._on_piece = None

    def _translate_now(self, piece: bytes, chunk: bytes) -> bool:  # noqa: ARG002 - a chunk is another one translated
        """Translate a small piece while `read` waits, and pass it on; on False, `read` goes on with the piece."""
        push, on_piece, translator = self._push, self._on_piece, self._translator
        if push is None or self._done or len(piece) > SLICE:
            return False
        if translator.waiting + len(piece) + (self._held + len(piece)) // HELD_DIVISOR > LARGE:
            return False
        if on_piece is not None:
            on_piece()
        self._held += len(piece)
        try:
            self._ready = translator.feed(piece)
        except Exception as error:  # noqa: BLE001 - it must not end the backend's connection: `read` raises it
            self._fault, self._done = error, len(piece)
            return False
        if self._ready:
            self._held = 0
            if not push(self._ready, b""):
                self._done = len(piece)
                return False
            self._ready = b""
        return True

    def _translated(self, data: bytes) -> bytes:
        """Return what `_translate_now` made of the beginning of `data`, or raise what it found; keep the rest."""
        done, self._done = self._done, 0
        self._first = data[done:]
        if self._fault is not None:
            raise self._fault
        ready, self._ready = self._ready, b""
        return ready

    async def _error(self) -> bytes:
        pieces = [self._first]
        size = len(self._first)
        while size <= REFUSAL_LIMIT and (piece := await self._inner.read()):
            pieces.append(piece)
            size += len(piece)
        self._inner.abort()
        self.is_complete = True
        return self._translator.error(self.status, b"".join(pieces))


def content_type_of(headers: Headers) -> bytes:
    """Return the media type of an answer; empty if it sent none."""
    for name, value in headers:
        if name == b"content-type":
            return value
    return b""


def translated_at_once(translator: ResponseTranslator, content_type: bytes, body: bytes) -> bytes:
    """Return a whole good answer translated; empty for one that has to be translated anew, in pieces.

    Raises TranslationFailed.
    """
    if len(body) > SLICE:
        return b""
    translator.begin(content_type)
    return b"" if translator.feed(body) else translator.end()
