"""Keeps the answer of an engine's own `/v1/responses` while it passes, so that the next request can go on from it.

llama.cpp and Ollama keep no responses and refuse `previous_response_id`, vLLM keeps them where it was told to: what
has passed through here is sent along with the next request instead, whichever backend that goes to.
"""

from meshlight.gateway.inference.streaming import Sink
from meshlight.gateway.translation.responses.native import RecordedRequest, final_response
from meshlight.http_client.client import Headers

RECORDED_MAX = 8 << 20
"""Bytes of an answer that is kept; a longer one is passed on and not kept."""


class RecordingSink:
    """Passes everything on to another sink; an answer that ends as it should is kept."""

    __slots__ = ("_asked", "_pieces", "_sink", "_size")

    def __init__(self, sink: Sink, asked: RecordedRequest) -> None:
        self._sink = sink
        self._asked = asked
        self._pieces: list[bytes] = []
        self._size = 0

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head."""
        await self._sink.start(status, headers)

    async def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        self._record(data)
        await self._sink.write(data)

    def offer(self, data: bytes) -> bool:
        """Send a piece of the body now, if there is room."""
        if not self._sink.offer(data):
            return False
        self._record(data)
        return True

    async def end(self, last: bytes = b"") -> None:
        """Keep the answer and finish the body."""
        self._record(last)
        if self._size <= RECORDED_MAX and (found := final_response(b"".join(self._pieces))) is not None:
            self._asked.keep(*found)
        self._pieces.clear()
        await self._sink.end(last)

    def abort(self) -> None:
        """Leave the answer unfinished, and keep nothing of it."""
        self._pieces.clear()
        self._sink.abort()

    def _record(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= RECORDED_MAX:
            self._pieces.append(data)
        else:
            self._pieces.clear()
