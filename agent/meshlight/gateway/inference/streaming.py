"""Passes a backend's answer on to the client, from its first body byte to its end, unbuffered and untouched."""

import asyncio
import re

import msgspec

from meshlight.backends.kind import Face
from meshlight.backends.upstream import Headers, Reply, Response
from meshlight.domain.errors import UpstreamError
from meshlight.gateway.attempt import Opened
from meshlight.gateway.guest_word import BROKEN_OFF, for_guest
from meshlight.gateway.headers import to_client, to_guest
from meshlight.gateway.interrupt import Interrupt
from meshlight.gateway.sink import Sink
from meshlight.gateway.translated_response import ImmediateResponse, TranslatedResponse
from meshlight.gateway.usage import UsageTap

_NAMELESS = frozenset({"chat/completions", "completions"})
"""The faces whose streams have events without a name."""
_SSE, _LINES = b"text/event-stream", b"application/x-ndjson"
_WORDS = "The answer broke off: {}"
_NUMBER = re.compile(rb'"sequence_number"\s*:\s*(\d{1,9})')


class CutOff(Exception):
    """The answer broke off after its first byte."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class _Silence:
    """Fires `idle` when the backend is silent for too long; the time that the client takes to read is not counted.

    Noting a byte costs an assignment: the one timer looks when it fires, and waits on.
    """

    __slots__ = ("_interrupt", "_limit_s", "_loop", "_timer", "since")

    def __init__(self, limit_s: float, interrupt: Interrupt) -> None:
        self.since: float | None = None
        """Since when the backend is waited for; None while it is not."""
        self._limit_s = limit_s
        self._interrupt = interrupt
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(limit_s, self._look)

    def begin(self) -> None:
        self.since = self._loop.time()

    def end(self) -> None:
        self._timer.cancel()

    def _look(self) -> None:
        silent_s = 0.0 if self.since is None else self._loop.time() - self.since
        if silent_s >= self._limit_s:
            self._interrupt.fire("idle")
        else:
            self._timer = self._loop.call_later(self._limit_s - silent_s, self._look)


async def pass_on(
    opened: Opened,
    face: Face,
    sink: Sink,
    extra: Headers,
    interrupt: Interrupt,
    idle_s: float,
    *,
    is_guest: bool = False,
) -> UsageTap:
    """Pass an answer on; CutOff when the backend breaks off or is silent for `idle_s` seconds.

    The bytes go on as they were read; a guest gets to see nothing else of the backend. Returns what heard them pass.
    """
    response, piece = opened.response, opened.first
    tap = UsageTap()
    try:
        if is_guest and response.status >= 400:
            told = for_guest(
                Reply(response.status, response.headers, piece, elapsed_s=0.0, reused=False), face
            )
            await sink.start(told.status, to_guest(told.headers, extra))
            await sink.end(told.body)
            return tap
        headers = (to_guest if is_guest else to_client)(response.headers, extra)
        await sink.start(response.status, headers)
        if not response.is_whole:
            piece = await _pour(response, piece, sink, tap, interrupt, idle_s)
        tap.feed(piece)
        await sink.end(piece)
    except UpstreamError as error:
        await _break_off(opened, face, sink, tap, BROKEN_OFF if is_guest else error.title)
        raise CutOff(error.title) from None
    except asyncio.CancelledError:
        if interrupt.cause != "idle" or interrupt.settle() is None:
            raise
        why = f"The backend sent nothing for {idle_s:g} s."
        await _break_off(opened, face, sink, tap, why)
        raise CutOff(why) from None
    finally:
        response.abort()
    return tap


async def _pour(
    response: Response | TranslatedResponse | ImmediateResponse,
    piece: bytes,
    sink: Sink,
    tap: UsageTap,
    interrupt: Interrupt,
    idle_s: float,
) -> bytes:
    """Pass on all but the last piece, and return that."""
    silence = _Silence(idle_s, interrupt)

    def push(data: bytes) -> bool:
        if not sink.offer(data):
            return False
        tap.feed(data)
        silence.begin()
        return True

    if isinstance(response, TranslatedResponse):
        response.heard = silence.begin
    try:
        while piece:
            tap.feed(piece)
            await sink.write(piece)
            silence.begin()
            piece = await response.read(push)
            silence.since = None
            if response.is_whole:
                break
    finally:
        silence.end()
    return piece


async def _break_off(opened: Opened, face: str, sink: Sink, tap: UsageTap, why: str) -> None:
    """End a broken answer so that the client sees it is broken: an error event in a stream, a cut elsewhere."""
    response = opened.response
    response.abort()
    if opened.back is not None:  # what it has sent are whole events
        event = opened.back.broken(why)
        if event is None:
            sink.abort()
        else:
            await sink.end(event)
        return
    headers = dict(response.headers)
    media = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    tail = tap.tail()
    if (
        media not in {_SSE, _LINES}
        or b"content-length" in headers
        or headers.get(b"content-encoding", b"identity") != b"identity"
        # Half a line can't be taken back: what would follow it is no event, and what it would become no JSON.
        or (tail and not tail.endswith(b"\n"))
    ):
        sink.abort()
        return
    if media == _LINES:
        await sink.end(msgspec.json.encode({"error": _WORDS.format(why)}) + b"\n")
        return
    gap = b"" if tail.endswith((b"\n\n", b"\r\n\r\n")) else b"\n"
    await sink.end(gap + _error_event(face, tail, why))


def _error_event(face: str, tail: bytes, why: str) -> bytes:
    """Make the event by which the clients of a face learn that an answer broke off."""
    if face.startswith("gemini/"):
        status = {"code": 502, "message": _WORDS.format(why), "status": "UNAVAILABLE"}
        return b"data: " + msgspec.json.encode({"error": status}) + b"\n\n"
    said = {"message": _WORDS.format(why), "code": "backend_broke", "param": None}
    error = {**said, "type": "api_error"}
    if face in _NAMELESS:
        return b"data: " + msgspec.json.encode({"error": error}) + b"\n\n"
    numbers = _NUMBER.findall(tail)
    number = int(numbers[-1]) + 1 if numbers else 0
    event = {"type": "error", "error": error, **said, "sequence_number": number}
    return b"event: error\ndata: " + msgspec.json.encode(event) + b"\n\n"
