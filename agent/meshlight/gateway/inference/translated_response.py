"""A backend's answer as the caller's protocol has it: read like any other answer, translated as it comes."""

import asyncio
from collections.abc import Callable

from meshlight.backends.large_work import in_thread_if_large
from meshlight.gateway.inference.upstream_errors import LIMIT
from meshlight.gateway.translation.base import ResponseTranslator
from meshlight.http_client.client import Headers, Response
from meshlight.http_client.response import Push

SLICE = 1 << 14
"""Bytes of a piece that are translated before others have their turn: they may hold a thousand small events."""
LIGHTER = 16
"""How much less an answer weighs that is decoded already and held, than bytes that are still to be decoded."""
_CHANGED = frozenset({b"content-type", b"content-length", b"content-encoding"})


def _nothing() -> None:
    """Do nothing: nobody listens."""


class ImmediateResponse:
    """Has the face of a Response that came whole; nobody was asked for it."""

    __slots__ = ("headers", "is_complete", "reused", "status")

    def __init__(self, content_type: bytes, size: int) -> None:
        self.status = 200
        self.reused = False
        self.is_complete = True
        self.headers: Headers = ((b"content-type", content_type), (b"content-length", b"%d" % size))

    async def read(self, push: Push | None = None) -> bytes:  # noqa: ARG002 - a Response's
        """Return nothing more."""
        return b""

    def abort(self) -> None:
        """Hold nothing."""


class TranslatedResponse:
    """Has the face of a Response. A failing answer is gathered whole, for its message to be found."""

    __slots__ = (
        "_back",
        "_first",
        "_held",
        "_inner",
        "_rest",
        "headers",
        "heard",
        "is_complete",
        "reused",
        "status",
    )

    def __init__(self, inner: Response, back: ResponseTranslator, first: bytes = b"") -> None:
        """`first` is what was read of the answer already."""
        self._inner = inner
        self._first = first
        self._rest = memoryview(b"")
        """What has come and is not translated yet."""
        self._held = 0
        """Bytes that were taken since something was last made of them: of so many the next piece may be the end."""
        self.heard: Callable[[], None] = _nothing
        """Called for each piece that came, also for those of which nothing is left to pass on."""
        self._back = back
        self.status = inner.status
        self.reused = inner.reused
        self.is_complete = False
        """Whether the last piece has been read."""
        said = next((value for name, value in inner.headers if name == b"content-type"), b"")
        made = back.content_type if inner.status < 400 else b"application/json"
        kept = [pair for pair in inner.headers if pair[0] not in _CHANGED]
        self.headers: Headers = (*kept, (b"content-type", made))
        if inner.status < 400:
            back.begin(said)

    async def read(self, push: Push | None = None) -> bytes:  # noqa: ARG002 — each piece must be translated
        """Return the next translated bytes, `b""` at the end; raises the UpstreamErrors, Untranslated too."""
        if self.is_complete:
            return b""
        if self.status >= 400:
            return await self._error()
        while True:
            if not self._rest:
                piece, self._first = self._first or await self._inner.read(), b""
                if not piece:
                    break
                self.heard()
                self._rest = memoryview(piece)
            else:
                await asyncio.sleep(0)
            data, self._rest = bytes(self._rest[:SLICE]), self._rest[SLICE:]
            self._held += len(data)
            heavy = self._back.waiting + len(data) + self._held // LIGHTER
            made = await in_thread_if_large(heavy, self._back.feed, data)
            if made:
                self._held = 0
                return made
        self.is_complete = True
        return await in_thread_if_large(self._held, self._back.end)

    def abort(self) -> None:
        """Close the connection if the answer still holds one."""
        self._inner.abort()

    async def _error(self) -> bytes:
        pieces = [self._first]
        size = len(self._first)
        while size <= LIMIT and (piece := await self._inner.read()):
            pieces.append(piece)
            size += len(piece)
        self._inner.abort()
        self.is_complete = True
        return self._back.error(self.status, b"".join(pieces))
