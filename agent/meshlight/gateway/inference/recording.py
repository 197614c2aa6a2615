"""Stores an answer on its way to the client, so that a later request can continue from it."""

from typing import Final

from meshlight.backends.large_work import in_thread_if_large
from meshlight.gateway.inference.sinks import Sink
from meshlight.gateway.translation.responses.memory import StoredResponses
from meshlight.gateway.translation.responses.native import asked_to_keep
from meshlight.gateway.translation.responses.recording import RecordedRequest, final_response
from meshlight.http_client.client import Headers

RECORDED_MAX: Final = 8 << 20
"""Bytes of an answer that is stored; a longer one is passed on only."""


async def recording(sink: Sink, body: bytes, stored: StoredResponses) -> Sink:
    """Return a sink that stores the response that passes through it, if the request asks for that."""
    recorded = await in_thread_if_large(len(body), asked_to_keep, body, stored)
    return sink if recorded is None else RecordingSink(sink, recorded)


class RecordingSink:
    """Passes the answer of an engine's own `/v1/responses` on to another sink, and stores it when it is complete.

    llama.cpp and Ollama store no responses and refuse `previous_response_id`, vLLM stores them only where it is
    configured to. With the stored response, the next request can continue from it at whichever backend.
    """

    __slots__ = ("_pieces", "_request", "_sink", "_size")

    def __init__(self, sink: Sink, request: RecordedRequest) -> None:
        self._sink = sink
        self._request = request
        self._pieces: list[bytes] = []
        self._size = 0

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head."""
        await self._sink.start(status, headers)

    async def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        self._record(data)
        await self._sink.write(data)

    def offer(self, data: bytes, chunk: bytes = b"") -> bool:
        """Send a piece of the body now, if there is room."""
        if not self._sink.offer(data, chunk):
            return False
        self._record(data)
        return True

    async def end(self, last: bytes = b"") -> None:
        """Store the answer and finish the body."""
        self._record(last)
        if self._size <= RECORDED_MAX and (found := final_response(b"".join(self._pieces))) is not None:
            self._request.keep(*found)
        self._pieces.clear()
        await self._sink.end(last)

    def abort(self) -> None:
        """Leave the answer unfinished, and store nothing of it."""
        self._pieces.clear()
        self._sink.abort()

    def _record(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= RECORDED_MAX:
            self._pieces.append(data)
        else:
            self._pieces.clear()
