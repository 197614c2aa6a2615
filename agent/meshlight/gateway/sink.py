"""Where an answer goes: the relay speaks to a sink, whatever server stands behind it."""

from collections.abc import Callable
from typing import Protocol

from meshlight.backends.upstream import Headers
from meshlight.gateway.asgi import Send


class Sink(Protocol):
    """Takes one answer: start once, then any number of pieces, then end (perhaps with the last one) or abort."""

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head."""

    async def write(self, data: bytes) -> None:
        """Send a piece of the body; returns when there is room for more."""

    def offer(self, data: bytes) -> bool:
        """Send a piece of the body now, if there is room; False leaves it to `write`."""

    async def end(self, last: bytes = b"") -> None:
        """Send the last piece: the answer is whole."""

    def abort(self) -> None:
        """The answer can't become whole: the client must see that it is cut off."""


class AsgiSink:
    """An ASGI `send` as a sink. An aborted answer stays unfinished: the server closes the connection."""

    __slots__ = ("_send", "offer")

    def __init__(self, send: Send, offer: Callable[[bytes], bool]) -> None:
        self._send = send
        self.offer = offer

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head."""
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self, last: bytes = b"") -> None:
        """Finish the body."""
        await self._send({"type": "http.response.body", "body": last, "more_body": False})

    def abort(self) -> None:
        """Leave the answer unfinished."""
