"""Writes answers in Ollama's format: the lines of a stream, or one object; unknown fields are left out, as by Ollama.

Answers have the time at which they were made, and durations: `Clock`. Some need no backend (`Immediate`): Ollama's
clients load a model by a request without a prompt.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct


class Clock(Struct, frozen=True):
    """The clocks of an answer; replaced in tests."""

    wall: Callable[[], float] = time.time
    """Unix seconds."""
    steady: Callable[[], float] = time.monotonic
    """Monotonic seconds."""


SYSTEM = Clock()
"""The system's clocks."""


def moment(unix_s: float) -> str:
    """Return Unix seconds in the format of RFC 3339, in UTC."""
    return datetime.fromtimestamp(unix_s, UTC).isoformat().replace("+00:00", "Z")


def nanoseconds(seconds: float) -> int:
    """Return a duration in Ollama's unit; negative ones become 0."""
    return max(0, int(seconds * 1_000_000_000))


_encode = msgspec.json.Encoder().encode


class AnswerOptions(Struct, frozen=True):
    """What the translation of the answer needs from the request."""

    model: str
    """The model name in the request."""
    operation: Literal["chat", "generate"] = "chat"
    is_stream: bool = True
    hides_thinking: bool = False


class CallFunction(Struct, frozen=True):
    """The function of a tool call, and its arguments."""

    index: int
    name: str
    arguments: Raw
    """A JSON object in one line."""


class ToolCall(Struct, frozen=True):
    """A complete tool call."""

    id: str
    function: CallFunction


class Piece(Struct, frozen=True):
    """What is message at once."""

    text: str = ""
    thinking: str = ""
    calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[dict[str, Any], ...] = ()


class End(Struct, frozen=True, omit_defaults=True):
    """How an answer ended, and its numbers: tokens, and durations in nanoseconds; 0 means unknown."""

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

    __slots__ = ("_clock", "_options")

    def __init__(self, options: AnswerOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock

    def line(self, piece: Piece) -> bytes:
        """Return a line that is not the last."""
        return _encode(self._line(piece, None)) + b"\n"

    def end(self, piece: Piece, end: End) -> bytes:
        """Return the last line, or the complete answer, without a newline."""
        return _encode(self._line(piece, end))

    def _line(self, piece: Piece, end: End | None) -> _Line:
        is_chat = self._options.operation == "chat"
        message = _Message("assistant", piece.text, piece.thinking, piece.calls) if is_chat else None
        numbers = {name: getattr(end, name) for name in End.__struct_fields__} if end is not None else {}
        return _Line(
            model=self._options.model,
            created_at=moment(self._clock.wall()),
            message=message,
            response=None if is_chat else piece.text,
            thinking="" if is_chat else piece.thinking,
            logprobs=piece.logprobs,
            done=end is not None,
            **numbers,
        )


class Immediate(Struct, frozen=True):
    """A complete answer with status 200, for which no backend is needed."""

    body: bytes
    content_type: bytes = b"application/json"


def loaded(options: AnswerOptions, clock: Clock) -> Immediate:
    """Return the answer that a model is loaded."""
    return without_prompt(options, clock, "load")


def without_prompt(options: AnswerOptions, clock: Clock, done_reason: Literal["load", "unload"]) -> Immediate:
    """Return the answer to a request without a prompt; Ollama sends one object even if a stream was requested."""
    return Immediate(LineWriter(options, clock).end(Piece(), End(done_reason)))


def no_embeddings(model: str) -> Immediate:
    """Return the answer of `/api/embed` to an empty list of texts."""
    return Immediate(_encode({"model": model, "embeddings": []}))


def no_embedding() -> Immediate:
    """Return the answer of `/api/embeddings` to an empty text."""
    return Immediate(_encode({"embedding": []}))


def error_body(message: str) -> bytes:
    """Return the body of a failing answer."""
    return _encode({"error": message})


def error_line(message: str) -> bytes:
    """Return the line that ends a broken stream (`docs/api/errors.mdx` of Ollama)."""
    return error_body(message) + b"\n"
