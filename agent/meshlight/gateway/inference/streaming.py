"""Passes a backend's answer on to the client, from its first body byte to its end, unbuffered and unchanged.

On the way it notes the token counts that the answer reports, and watches for a backend that falls silent.
"""

import asyncio
import re
from typing import Final

import msgspec

from meshlight.domain.clock import Loop
from meshlight.domain.deadlines import Deadline, Deadlines
from meshlight.domain.errors import UpstreamError
from meshlight.domain.operations import Operation
from meshlight.gateway.inference.attempt import StartedResponse
from meshlight.gateway.inference.headers import to_client, to_guest
from meshlight.gateway.inference.route_errors import BROKEN_OFF, for_guest
from meshlight.gateway.inference.sinks import Sink
from meshlight.gateway.inference.timeouts import Cancellation, Waiting
from meshlight.gateway.inference.translated_response import ImmediateResponse, TranslatedResponse
from meshlight.http_client.client import Headers, Reply, Response
from meshlight.http_client.digits import number_at

_NAMELESS: Final = frozenset({"chat/completions", "completions"})
"""Operations whose streams have events without a name."""
_SSE, _LINES = b"text/event-stream", b"application/x-ndjson"
_BROKEN_TEXT: Final = "The answer broke off: {}"
_NUMBER: Final = re.compile(rb'"sequence_number"\s*:\s*(\d{1,9})')


_HEAD: Final = 2_048
_TAIL: Final = 8_192
_FULL: Final = _TAIL + 1_024
_USAGE: Final = re.compile(rb'"(?:usage|usageMetadata)"\s*:\s*\{')
_PROMPT: Final = re.compile(
    rb'"(?:prompt_tokens|input_tokens|promptTokenCount|prompt_eval_count)"\s*:\s*(\d{1,12})'
)
_COMPLETION: Final = re.compile(
    rb'"(?:completion_tokens|output_tokens|candidatesTokenCount|eval_count)"\s*:\s*(\d{1,12})'
)
_VALUE: Final = re.compile(
    rb'"((?:prompt|predicted|eval|prompt_eval)_(?:n|ms|count|duration))"\s*:\s*(\d{1,16}(?:\.\d{1,9})?)'
)
_USAGE_KEY: Final = b'"usage"'
_PROMPT_KEY: Final = b'"prompt_tokens"'
_COMPLETION_KEY: Final = b'"completion_tokens"'
_INPUT_KEY: Final = b'"input_tokens"'
_OUTPUT_KEY: Final = b'"output_tokens"'
"""As most answers have them; all others are searched."""
_NEAR: Final = 1_024
"""The counts of a `usage` are within so many bytes of its beginning."""
_DIGITS_MAX: Final = 12
_COLON: Final = ord(":")
_BLANK: Final = ord(" ")


class StreamAborted(Exception):
    """The answer broke off after its first byte; `why` is a sentence for people."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class SilenceTimer(Deadline):
    """Fires `idle` when the backend is silent for too long; the time that the client takes to read is not counted."""

    __slots__ = ("_cancellation", "_limit_s")

    def __init__(self, deadlines: Deadlines, loop: Loop, limit_s: float, cancellation: Waiting) -> None:
        super().__init__(deadlines, loop, self._fire)
        self._limit_s = limit_s
        self._cancellation = cancellation

    def begin(self) -> None:
        """Wait for the backend from now on."""
        self.due_in(self._limit_s)

    def _fire(self) -> None:
        self._cancellation.fire("idle")


class UsageTap:
    """Keeps the first and the last bytes of an answer; `usage` is in one of the two.

    A model's text can't be mistaken for it: inside a JSON string the quotes are escaped.
    """

    __slots__ = ("_head", "_size", "_tail", "_whole", "total")

    def __init__(self, whole: bytes = b"") -> None:
        """`whole` is an answer that has come at once: nothing is fed then."""
        self.total = self._size = len(whole)
        """Bytes of the whole answer."""
        self._whole = whole
        self._head = b""
        self._tail: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take note of a piece of the body."""
        size = len(data)
        if self.total < _HEAD:
            self._head += data[: _HEAD - self.total]
        self.total += size
        self._tail.append(data)
        self._size += size
        if self._size >= _FULL:
            self._trim()

    def tail(self) -> bytes:
        """Return the last bytes that were passed on."""
        if self._whole:
            return self._whole[-_TAIL:]
        pieces = self._tail
        return (pieces[0] if len(pieces) == 1 else b"".join(pieces))[-_TAIL:]

    def _beginning(self) -> bytes:
        return self._whole[:_HEAD] if self._whole else self._head

    def _trim(self) -> None:
        """Let go of what is before the last bytes: seldom, since each piece costs that much less."""
        tail, left = self._tail, self._size
        for number, piece in enumerate(tail):
            if left - len(piece) < _TAIL:
                del tail[:number]
                break
            left -= len(piece)
        self._size = left

    def estimate(self) -> int:
        """Return about how many tokens a stream without `usage` had: engines send an event for each.

        The events are counted in the last bytes, and scaled to the whole answer; 0 for what is no event stream.
        """
        tail = self.tail()
        plain = tail.replace(b"\r\n", b"\n") if b"\r" in tail else tail
        events = plain.count(b"\n\ndata:")
        # Neither the `[DONE]` nor the last event, which has the reason of the end, is a token.
        return max(round(events * self.total / len(tail)) - 2, 1) if events else 0

    def read(self, *, is_ollamas: bool = False) -> tuple[int, int] | None:
        """Return (prompt tokens, completion tokens), or None when the answer reports none.

        An answer of Ollama's API has its counts beside the answer: a `usage` in it is a tool's argument.
        """
        prompt, completion = _read_ollamas(self.tail()) if is_ollamas else _read(self.tail())
        if prompt is None and completion is None:
            if is_ollamas or self.total <= _HEAD:  # that was all of it
                return None
            prompt, completion = _read(self._beginning())
        elif prompt is None and not is_ollamas and (begun := _USAGE.search(head := self._beginning())):
            # Anthropic's streams report the prompt at their beginning, and often only the answer at their end.
            prompt = _number(_PROMPT.search(head, begun.end(), begun.end() + _NEAR))
        return None if prompt is None and completion is None else (prompt or 0, completion or 0)


def _read(text: bytes) -> tuple[int | None, int | None]:
    found = None
    last = text.rfind(b'"usage')
    if last != -1:
        start = _value_at(text, last + len(_USAGE_KEY))
        if text[start : start + 1] == b"{":
            is_input = text[start + 1 : start + 1 + len(_INPUT_KEY)] == _INPUT_KEY
            prompt, end = _count(text, start, start + 1, _INPUT_KEY if is_input else _PROMPT_KEY)
            completion, _ = _count(text, start, end + 1, _OUTPUT_KEY if is_input else _COMPLETION_KEY)
            if prompt >= 0 and completion >= 0:
                return prompt, completion
    while last != -1 and found is None:  # the last one counts
        found = _USAGE.match(text, last)
        last = text.rfind(b'"usage', 0, last)
    if found is not None:
        start = found.end()
    else:
        return _read_ollamas(text)
    return _both(text[start : start + _NEAR])


def _read_ollamas(text: bytes) -> tuple[int | None, int | None]:
    """Return the counts of Ollama's API, which does not count a cached prompt."""
    if text.rfind(b'eval_count"') == -1:
        return None, None
    start = text.rfind(b'"prompt_eval_count"')
    start = text.rfind(b'"eval_count"') if start == -1 else start
    return (None, None) if start == -1 else _both(text[start : start + _NEAR])


def _both(text: bytes) -> tuple[int | None, int | None]:
    return _number(_PROMPT.search(text)), _number(_COMPLETION.search(text))


def _count(text: bytes, start: int, likely: int, key: bytes) -> tuple[int, int]:
    """Return the number under the first such key from `start` on, and where it ends; negative if there is none.

    `likely` is where the key probably stands.
    """
    at = likely if text[likely : likely + len(key)] == key else text.find(key, start, start + _NEAR)
    if at == -1:
        return -1, start
    start = _value_at(text, at + len(key))
    number, end = number_at(text, start, _DIGITS_MAX)
    return (number if end > start else -1), end


def _value_at(text: bytes, at: int) -> int:
    """Return where the value begins whose key ends at `at`; the end of the text if it is no key."""
    end = len(text)
    while at < end and text[at] <= _BLANK:
        at += 1
    if at >= end or text[at] != _COLON:
        return end
    at += 1
    while at < end and text[at] <= _BLANK:
        at += 1
    return at


def read_timings(tail: bytes) -> tuple[tuple[int, float], tuple[int, float]] | None:
    """Return what the end of an answer says of its making: tokens and seconds of the prompt, and of the answer.

    llama.cpp measures them, without the tokens that were in its cache; Ollama gives them in nanoseconds.
    """
    start = tail.rfind(b'"timings"')
    names, unit = ((b"prompt_n", b"prompt_ms", b"predicted_n", b"predicted_ms"), 1e3)
    if start == -1:
        start = tail.rfind(b'"prompt_eval_duration"')
        names, unit = ((b"prompt_eval_count", b"prompt_eval_duration", b"eval_count", b"eval_duration"), 1e9)
        start = -1 if start == -1 else max(start - _NEAR, 0)
    if start == -1:
        return None
    found = dict(_VALUE.findall(tail, start))
    if not all(name in found for name in names):
        return None
    read, read_time, wrote, write_time = (float(found[name]) for name in names)
    return (int(read), read_time / unit), (int(wrote), write_time / unit)


def _number(found: re.Match[bytes] | None) -> int | None:
    return int(found[1]) if found else None


async def stream_response(  # noqa: PLR0913 - some are given by name
    started: StartedResponse,
    operation: Operation,
    sink: Sink,
    extra: Headers,
    cancellation: Cancellation,
    idle_s: float,
    *,
    is_guest: bool = False,
    begun: UsageTap | None = None,
    deadlines: Deadlines | None = None,
) -> UsageTap:
    """Pass an answer on, byte for byte; a guest gets nothing of a backend's error texts and few of its headers.

    Returns the tap that knows the token counts. Raises StreamAborted when the backend breaks off or is silent for
    `idle_s` seconds; the client has been shown that the answer is broken by then. `begun` is the tap of an answer
    whose head and first pieces were sent already. `deadlines` are those of other answers too.
    """
    response, piece = started.response, started.first
    tap = begun or UsageTap()
    silence = SilenceTimer(deadlines or Deadlines(), asyncio.get_running_loop(), idle_s, cancellation)
    try:
        if begun is not None:
            piece = await _pump(response, None, sink, tap, silence)
            tap.feed(piece)
            await sink.end(piece)
            return tap
        if is_guest and response.status >= 400:
            public = for_guest(
                Reply(response.status, response.headers, piece, elapsed_s=0.0, reused=False), operation
            )
            await sink.start(public.status, to_guest(public.headers, extra))
            await sink.end(public.body)
            return tap
        headers = (to_guest if is_guest else to_client)(response.headers, extra)
        await sink.start(response.status, headers)
        if not response.is_complete:
            piece = await _pump(response, piece, sink, tap, silence)
        tap.feed(piece)
        await sink.end(piece)
    except UpstreamError as error:
        why = await _why(started, error)
        await _break_off(started, operation, sink, tap, BROKEN_OFF if is_guest else why)
        raise StreamAborted(why) from None
    except asyncio.CancelledError:
        if cancellation.cause != "idle" or cancellation.settle() is None:
            raise
        why = f"The backend sent nothing for {idle_s:g} s."
        await _break_off(started, operation, sink, tap, why)
        raise StreamAborted(why) from None
    finally:
        silence.close()
        response.abort()
    return tap


async def _why(started: StartedResponse, error: UpstreamError) -> str:
    """Return why an answer broke off: by the engine's own account, where there is one."""
    reason = None if started.why_lost is None else await started.why_lost()
    return error.title if reason is None else reason.text


async def _pump(
    response: Response | TranslatedResponse | ImmediateResponse,
    piece: bytes | None,
    sink: Sink,
    tap: UsageTap,
    silence: SilenceTimer,
) -> bytes:
    """Pass on all pieces but the last, and return that one; without a first `piece`, it is read first."""

    def push(data: bytes, chunk: bytes) -> bool:
        if not sink.offer(data, chunk):
            return False
        tap.feed(data)
        silence.begin()
        return True

    async def read() -> bytes:
        if isinstance(response, TranslatedResponse):
            return await response.read(push, on_piece=silence.begin)
        return await response.read(push)

    try:
        while piece is None or piece:
            if piece:
                tap.feed(piece)
                await sink.write(piece)
            silence.begin()
            piece = await read()
            silence.lift()
            if response.is_complete:
                break
    finally:
        silence.lift()
    return piece


async def _break_off(started: StartedResponse, operation: str, sink: Sink, tap: UsageTap, why: str) -> None:
    """End a broken answer so that the client sees it is broken: by an error event in a stream, else by an abort."""
    response = started.response
    response.abort()
    if started.translator is not None:  # it has sent whole events only
        event = started.translator.broken(why)
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
        # After half a line, an error event would be read as the rest of that line.
        or (tail and not tail.endswith(b"\n"))
    ):
        sink.abort()
        return
    if media == _LINES:
        await sink.end(msgspec.json.encode({"error": _BROKEN_TEXT.format(why)}) + b"\n")
        return
    gap = b"" if tail.endswith((b"\n\n", b"\r\n\r\n")) else b"\n"
    await sink.end(gap + _error_event(operation, tail, why))


def _error_event(operation: str, tail: bytes, why: str) -> bytes:
    """Return the event that tells the clients of an operation that the answer broke off."""
    if operation.startswith("gemini/"):
        status = {"code": 502, "message": _BROKEN_TEXT.format(why), "status": "UNAVAILABLE"}
        return b"data: " + msgspec.json.encode({"error": status}) + b"\n\n"
    details = {"message": _BROKEN_TEXT.format(why), "code": "backend_broke", "param": None}
    error = {**details, "type": "api_error"}
    if operation in _NAMELESS:
        return b"data: " + msgspec.json.encode({"error": error}) + b"\n\n"
    numbers = _NUMBER.findall(tail)
    number = int(numbers[-1]) + 1 if numbers else 0
    event = {"type": "error", "error": error, **details, "sequence_number": number}
    return b"event: error\ndata: " + msgspec.json.encode(event) + b"\n\n"
