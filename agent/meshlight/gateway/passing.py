"""Passes a backend's answer on to the client, from its first body byte to its end, unbuffered and untouched."""

import asyncio
from collections.abc import Callable

import msgspec

from meshlight.backends.upstream import Headers, Response
from meshlight.domain.errors import UpstreamError
from meshlight.gateway.headers import to_client
from meshlight.gateway.interrupt import Interrupt
from meshlight.gateway.sink import Sink
from meshlight.gateway.usage import UsageTap


class CutOff(Exception):
    """The answer broke off after its first byte."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


async def pass_on(
    response: Response,
    first: bytes,
    sink: Sink,
    extra: Headers,
    tap: UsageTap,
    interrupt: Interrupt,
    idle_s: float,
    clock: Callable[[], float],
) -> None:
    """Pass an answer on; CutOff when the backend breaks off or is silent for `idle_s` seconds.

    The bytes go on as they were read. The time that the client takes to read them is not the backend's silence.
    """
    loop = asyncio.get_running_loop()
    silent_since: float | None = None
    timer: asyncio.TimerHandle

    def look() -> None:
        nonlocal timer
        silent_s = 0.0 if silent_since is None else clock() - silent_since
        if silent_s >= idle_s:
            interrupt.fire("idle")
        else:
            timer = loop.call_later(idle_s - silent_s, look)

    timer = loop.call_later(idle_s, look)
    tail = first
    try:
        await sink.start(response.status, to_client(response.headers, extra))
        piece = first
        while piece:
            tap.feed(piece)
            await sink.write(piece)
            tail = piece
            silent_since = clock()
            piece = await response.read()
            silent_since = None
        await sink.end()
    except UpstreamError as error:
        await _break_off(response, sink, tail, error.title)
        raise CutOff(error.title) from None
    except asyncio.CancelledError:
        if interrupt.cause != "idle" or interrupt.settle() is None:
            response.abort()
            raise
        why = f"The backend sent nothing for {idle_s:.0f} s."
        await _break_off(response, sink, tail, why)
        raise CutOff(why) from None
    finally:
        timer.cancel()


async def _break_off(response: Response, sink: Sink, tail: bytes, why: str) -> None:
    """End a broken answer so that the client sees it is broken: an error event in a stream, a cut elsewhere."""
    response.abort()
    types = [value.lower() for name, value in response.headers if name == b"content-type"]
    has_length = any(name == b"content-length" for name, _ in response.headers)
    if has_length or not any(value.startswith(b"text/event-stream") for value in types):
        sink.abort()
        return
    # The break may lie inside an event: end that one first, or the error would be glued to it.
    gap = b"" if tail.endswith((b"\n\n", b"\r\n\r\n")) else b"\n\n"
    error = {
        "message": f"The answer broke off: {why}",
        "type": "api_error",
        "code": "backend_broke",
        "param": None,
    }
    await sink.write(gap + b"data: " + msgspec.json.encode({"error": error}) + b"\n\n")
    await sink.end()
