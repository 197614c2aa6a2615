"""Answers in Ollama's words: the lines of a stream, or one object. What is not known is left out, as Ollama does.

The two clocks that Ollama's answers need: they say when they were made, and how long it took.

Answers that no backend need be asked for: Ollama's clients say "load this model" by asking nothing of it.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct


class Clock(Struct, frozen=True):
    """Where the time comes from."""

    wall: Callable[[], float] = time.time
    """Unix seconds."""
    steady: Callable[[], float] = time.monotonic
    """Seconds that never go back."""


SYSTEM = Clock()
"""This machine's clocks."""


def moment(unix_s: float) -> str:
    """Return a moment as RFC 3339 has it, in UTC."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat().replace("+00:00", "Z")


def nanoseconds(seconds: float) -> int:
    """Return a duration in Ollama's unit; never less than nothing."""
    return max(0, int(seconds * 1_000_000_000))


_encode = msgspec.json.Encoder().encode


class AnswerOptions(Struct, frozen=True):
    """What of the request matters for its answer."""

    model: str
    """The name that the caller asked for."""
    operation: Literal["chat", "generate"] = "chat"
    is_stream: bool = True
    hides_thinking: bool = False


class CallFunction(Struct, frozen=True):
    """Which function is called, and with what."""

    index: int
    name: str
    arguments: Raw
    """A JSON object in one line."""


class ToolCall(Struct, frozen=True):
    """A whole call of a tool."""

    id: str
    function: CallFunction


class Piece(Struct, frozen=True):
    """What is said at once."""

    text: str = ""
    thinking: str = ""
    calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[dict[str, Any], ...] = ()


class End(Struct, frozen=True, omit_defaults=True):
    """How an answer ended, and its numbers: tokens, and durations in nanoseconds; 0 is "not known"."""

    done_reason: str
    total_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0


class _Message(Struct, frozen=True, omit_defaults=True):
    role: Literal["assistant"]
    content: str
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


class _Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    model: str
    created_at: str
    message: _Message | None = None
    response: str | None = None
    thinking: str = ""
    logprobs: tuple[dict[str, Any], ...] = ()
    done: bool
    done_reason: str = ""
    total_duration: int = 0
    prompt_eval_count: int = 0
    prompt_eval_duration: int = 0
    eval_count: int = 0
    eval_duration: int = 0


class LineWriter:
    """Writes the answer to one request."""

    __slots__ = ("_ask", "_clock")

    def __init__(self, ask: AnswerOptions, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock

    def line(self, piece: Piece) -> bytes:
        """Return a line that is not the last."""
        return _encode(self._line(piece, None)) + b"\n"

    def end(self, piece: Piece, end: End) -> bytes:
        """Return the last line or the whole answer, without a line's end."""
        return _encode(self._line(piece, end))

    def _line(self, piece: Piece, end: End | None) -> _Line:
        is_chat = self._ask.operation == "chat"
        said = _Message("assistant", piece.text, piece.thinking, piece.calls) if is_chat else None
        numbers = {name: getattr(end, name) for name in End.__struct_fields__} if end is not None else {}
        return _Line(
            model=self._ask.model,
            created_at=moment(self._clock.wall()),
            message=said,
            response=None if is_chat else piece.text,
            thinking="" if is_chat else piece.thinking,
            logprobs=piece.logprobs,
            done=end is not None,
            **numbers,
        )


class Immediate(Struct, frozen=True):
    """The whole answer, with status 200, in place of a request."""

    body: bytes
    content_type: bytes = b"application/json"


def loaded(ask: AnswerOptions, clock: Clock) -> Immediate:
    """Return the answer that a model is there; Ollama sends it as one object even where a stream was asked for."""
    return Immediate(LineWriter(ask, clock).end(Piece(), End("load")))


def no_embeddings(model: str) -> Immediate:
    """Return the answer of `/api/embed` to no text at all."""
    return Immediate(_encode({"model": model, "embeddings": []}))


def no_embedding() -> Immediate:
    """Return the answer of `/api/embeddings` to an empty text."""
    return Immediate(_encode({"embedding": []}))
