"""Where an answer goes: a sink takes its head, its pieces and its end, whatever server stands behind it.

`AsgiSink` hands them to the server. Two others wrap a sink: `NamedSink` names the model as the client did (with a
`Renaming`, which `NamedCycle` needs too, for what goes to a connection without a sink), and
`RecordingSink` stores an answer so that a later request can continue from it.
"""

from typing import ClassVar, Final, Protocol

import msgspec

from meshlight.gateway.server.asgi import Send
from meshlight.gateway.server.request_cycle import RequestCycle
from meshlight.gateway.translation.responses.recording import RecordedRequest, final_response
from meshlight.http_client.client import Headers

RECORDED_MAX: Final = 8 << 20
"""Bytes of an answer that is stored; a longer one is passed on only."""
_TEXT_TYPES: Final = (b"json", b"event-stream")


class Sink(Protocol):
    """Receives one answer: `start` once, any number of pieces, then `end` (perhaps with the last one) or `abort`."""

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head."""

    async def write(self, data: bytes) -> None:
        """Send a piece of the body; returns when there is room for more."""

    def offer(self, data: bytes, chunk: bytes = b"") -> bool:
        """Send a piece of the body now, if there is room; on False the caller uses `write`.

        `chunk` is the same as one whole chunk in the usual form, where it came as that.
        """

    async def end(self, last: bytes = b"") -> None:
        """Send the last piece: the answer is complete."""

    def abort(self) -> None:
        """Give up: the answer can't be completed, and the client must see that."""


class Offer(Protocol):
    """A server's `Sink.offer`."""

    def __call__(self, data: bytes, chunk: bytes = b"", /) -> bool:
        """Send a piece now, if there is room."""


class AsgiSink:
    """Sends to an ASGI server. An aborted answer stays unfinished: the server closes the connection."""

    __slots__ = ("_send", "offer")

    def __init__(self, send: Send, offer: Offer) -> None:
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


class Renaming:
    """Puts the name that the client requested into an answer, instead of the model's id.

    Some clients refuse an answer from another model than they requested. Only requests that used another name (an
    alias, `backend/model`, a tag) need this. The value is replaced where it is exactly the model's id; every other
    byte stays.
    """

    __slots__ = ("_is_text", "_longest", "_replacements", "held")

    def __init__(self, model: str, requested: str) -> None:
        old, new = msgspec.json.encode(model), msgspec.json.encode(requested)
        self._replacements = tuple((key + old, key + new) for key in (b'"model":', b'"model": '))
        self._longest = max(len(old) for old, _ in self._replacements)
        self.held = b""
        """The end of what was received, while it may be the beginning of the name."""
        self._is_text = False

    def head(self, headers: Headers) -> Headers:
        """Return the headers of the answer without the length, which may change."""
        kind = next((value.lower() for name, value in headers if name == b"content-type"), b"")
        self._is_text = any(name in kind for name in _TEXT_TYPES)
        return [pair for pair in headers if pair[0] != b"content-length"] if self._is_text else headers

    def piece(self, data: bytes) -> tuple[bytes, bytes]:
        """Return the bytes that can be sent, and those that have to wait for the next piece: the next `held`."""
        if not self._is_text:
            return data, b""
        data = self.held + data
        for old, new in self._replacements:
            if old in data:
                data = data.replace(old, new)
        if data.endswith(b"\n"):  # as events and lines do: no name spans them
            return data, b""
        position = data.find(b'"', max(0, len(data) - self._longest + 1))
        while position >= 0:
            if any(old.startswith(data[position:]) for old, _ in self._replacements):
                return data[:position], data[position:]
            position = data.find(b'"', position + 1)
        return data, b""


class NamedSink:
    """Passes an answer on to another sink, with the name that the client requested."""

    __slots__ = ("_inner", "_renaming")

    def __init__(self, inner: Sink, renaming: Renaming) -> None:
        self._inner = inner
        self._renaming = renaming

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head."""
        await self._inner.start(status, self._renaming.head(headers))

    async def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        ready, self._renaming.held = self._renaming.piece(data)
        if ready:
            await self._inner.write(ready)

    def offer(self, data: bytes, chunk: bytes = b"") -> bool:  # noqa: ARG002 - it may have to change
        """Send a piece of the body now, if there is room."""
        ready, held = self._renaming.piece(data)
        if ready and not self._inner.offer(ready):
            return False
        self._renaming.held = held
        return True

    async def end(self, last: bytes = b"") -> None:
        """Send the rest."""
        ready, held = self._renaming.piece(last)
        self._renaming.held = b""
        await self._inner.end(ready + held)

    def abort(self) -> None:
        """Leave the answer unfinished."""
        self._inner.abort()


class NamedCycle:
    """The same for a request cycle to which the lane writes."""

    __slots__ = ("cycle", "renaming")

    def __init__(self, cycle: RequestCycle, renaming: Renaming) -> None:
        self.cycle = cycle
        self.renaming = renaming

    can_answer: ClassVar[bool] = False
    """Its answers are made piece by piece."""

    @property
    def has_room(self) -> bool:
        """Whether what is sent now leaves at once."""
        return self.cycle.has_room

    def start(self, status: int, headers: Headers) -> bytes:
        """Send the head, and return it; the first piece of the body may be held."""
        return self.cycle.start(status, self.renaming.head(headers), is_followed=False)

    def offer(self, data: bytes) -> bool:
        """Send a piece of the body, if there is room."""
        ready, held = self.renaming.piece(data)
        if ready and not self.cycle.offer(ready):
            return False
        self.renaming.held = held
        return True

    def end(self, last: bytes) -> None:
        """Send the rest."""
        ready, held = self.renaming.piece(last)
        self.cycle.end(ready + held)

    def chunk_way(self) -> None:
        """None: a chunk may have to change."""

    def answer(self, head: bytes, body: bytes) -> None:
        """Never: see `can_answer`."""
        raise NotImplementedError


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
