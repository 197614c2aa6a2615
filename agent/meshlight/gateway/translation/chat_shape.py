"""An answer of chat completions, whole or in chunks, as far as it is read; what else is in it is skipped.

Servers differ in what they leave out or call null, so nearly everything may be missing.
"""

from typing import Any

from msgspec import Raw, Struct


class Function(Struct, frozen=True, gc=False):
    """The function part of a tool call; some servers send arguments as an object instead of as text."""

    name: str | None = None
    arguments: Raw = Raw()


class ToolCall(Struct, frozen=True):
    """A tool call, or a piece of one."""

    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Said(Struct, frozen=True):
    """A message, or what a chunk adds to it."""

    content: str | tuple[Any, ...] | None = None
    """Mistral's thinking models answer with parts: `{"type": "thinking", "thinking": [{"type": "text", …}]}`."""
    reasoning_content: str | None = None
    reasoning: Any = None
    """The same under the name that newer vLLM, mlx_lm and OpenRouter give it."""
    refusal: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None


class Choice(Struct, frozen=True):
    """One of the answers; only the first is ever asked for."""

    index: int | None = 0
    delta: Said | None = None
    message: Said | None = None
    finish_reason: str | None = None
    stop_reason: Any = None
    """vLLM: the stop sequence that ended it, or the id of a token."""
    matched_stop: Any = None
    """The same of SGLang."""


class Chunk(Struct, frozen=True):
    """A chunk, or a whole answer."""

    id: str | None = None
    choices: tuple[Choice, ...] | None = None
    usage: Any = None
    error: Any = None
    object: str | None = None
    """"error" in the mid-stream errors of older vLLM, whose message stands beside it."""


def count(found: Any, name: str) -> int:
    """Read a number of tokens; what is no number counts as not known, for counting must never break an answer."""
    value = found.get(name) if isinstance(found, dict) else None
    return max(0, value) if isinstance(value, int) else 0
