"""Shows the client of a stream that waits for a slot that it is not forgotten, where its protocol has a way to.

OpenAI's streams get a comment of server-sent events, Anthropic's its `ping`. The first of them commits the answer:
its head is sent, without what is not known yet (the backend), and a failure comes as the protocol's error event.
"""

import msgspec

from meshlight.domain.errors import BackendFailed, MeshlightError
from meshlight.domain.operations import Operation
from meshlight.gateway.errors import error_response
from meshlight.gateway.inference.headers import request_id
from meshlight.gateway.inference.request import InferenceRequest
from meshlight.gateway.inference.sinks import Sink
from meshlight.http_client.client import Headers

_COMMENT = b": waiting\n\n"
_PING = b'event: ping\ndata: {"type": "ping"}\n\n'
_BEATS: dict[Operation, bytes] = {
    "chat/completions": _COMMENT,
    "completions": _COMMENT,
    "messages": _PING,
}
_STREAM = b"text/event-stream"
_ERROR_MAX = 64 * 1024
"""Bytes of a backend's error that are passed on as an event."""


def takes_beats(inbound: InferenceRequest) -> bool:
    """Whether a request is for a stream that may begin before its answer.

    Not one that came from another node: that one takes the first byte for the answer's, and stays here.
    """
    return (
        inbound.head.stream and inbound.operation in _BEATS and inbound.guest is None and not inbound.visited
    )


class WaitingStream:
    """A sink around another one: what is written passes through; `beat` may begin the stream early."""

    __slots__ = ("_body", "_has_begun", "_inner", "_is_message", "_pulse", "_status", "_target")

    def __init__(self, inner: Sink, inbound: InferenceRequest) -> None:
        self._inner = inner
        self._pulse = _BEATS[inbound.operation]
        self._is_message = inbound.operation == "messages"
        self._target = inbound.target.partition("?")[0]
        self._has_begun = False
        self._status = 0
        """That of an answer that is no stream, once the stream has begun."""
        self._body = b""

    @property
    def has_begun(self) -> bool:
        """Whether the head was sent, so that no other status can be."""
        return self._has_begun

    async def beat(self) -> None:
        """Send a sign of life."""
        if not self._has_begun:
            self._has_begun = True
            own_id = request_id()
            headers = [(b"content-type", _STREAM), (b"cache-control", b"no-cache"), own_id]
            if self._is_message:  # Anthropic's name for it
                headers.append((b"request-id", own_id[1]))
            await self._inner.start(200, headers)
        await self._inner.write(self._pulse)

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head, unless the stream has begun; an answer that is no stream then becomes an error event."""
        if not self._has_begun:
            await self._inner.start(status, headers)
        elif status != 200 or not _is_stream(headers):
            self._status = status

    async def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        if self._status:
            self._keep(data)
        else:
            await self._inner.write(data)

    def offer(self, data: bytes, chunk: bytes = b"") -> bool:
        """Send a piece of the body now, if there is room."""
        if self._status:
            self._keep(data)
            return True
        return self._inner.offer(data, chunk)

    async def end(self, last: bytes = b"") -> None:
        """Send the last piece."""
        if self._status:
            self._keep(last)
            last = self._error_event(self._body)
        await self._inner.end(last)

    def abort(self) -> None:
        """Give up."""
        self._inner.abort()

    async def fail(self, error: MeshlightError) -> None:
        """End a stream that has begun with an error event."""
        await self._inner.end(self._event(error_response(error, self._target).body))

    def _keep(self, data: bytes) -> None:
        self._body += data[: _ERROR_MAX - len(self._body)]

    def _error_event(self, body: bytes) -> bytes:
        """Return a backend's error as an event; what has not the form of one is told in our words."""
        try:
            error = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            error = None
        if self._status >= 400 and isinstance(error, dict) and isinstance(error.get("error"), dict):
            return self._event(msgspec.json.encode(error))
        text = f"The backend answered with status {self._status} and no stream."
        return self._event(error_response(BackendFailed(text), self._target).body)

    def _event(self, body: bytes) -> bytes:
        return (b"event: error\n" if self._is_message else b"") + b"data: %s\n\n" % body


def _is_stream(headers: Headers) -> bool:
    """Whether an answer's bytes may follow what was sent already."""
    values = dict(headers)
    return (
        values.get(b"content-type", b"").lower().startswith(_STREAM)
        and values.get(b"content-encoding", b"identity") == b"identity"
    )
