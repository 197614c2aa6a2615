"""Answers in Ollama's words: the lines of a stream, or one object. What is not known is left out, as Ollama does."""

from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct

from meshlight.gateway.translation.ollama_clock import Clock, moment

_encode = msgspec.json.Encoder().encode


class Ask(Struct, frozen=True):
    """What of the request matters for its answer."""

    model: str
    """The name that the caller asked for."""
    face: Literal["chat", "generate"] = "chat"
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


class _Said(Struct, frozen=True, omit_defaults=True):
    role: Literal["assistant"]
    content: str
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()


class _Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    model: str
    created_at: str
    message: _Said | None = None
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


class Teller:
    """Writes the answer to one request."""

    __slots__ = ("_ask", "_clock")

    def __init__(self, ask: Ask, clock: Clock) -> None:
        self._ask = ask
        self._clock = clock

    def line(self, piece: Piece) -> bytes:
        """Return a line that is not the last."""
        return _encode(self._line(piece, None)) + b"\n"

    def end(self, piece: Piece, end: End) -> bytes:
        """Return the last line or the whole answer, without a line's end."""
        return _encode(self._line(piece, end))

    def _line(self, piece: Piece, end: End | None) -> _Line:
        is_chat = self._ask.face == "chat"
        said = _Said("assistant", piece.text, piece.thinking, piece.calls) if is_chat else None
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
