"""An answer of chat completions, whole or in chunks, as far as it is read; what else is in it is skipped.

Servers differ in what they leave out or call null, so nearly everything may be missing; and what only tells things
apart (ids, indices) may be a number or text.
"""

from typing import Any

from msgspec import Raw, Struct

_DIGITS_MAX = 9


class Function(Struct, frozen=True, gc=False):
    """The function part of a tool call; some servers send arguments as an object instead of as text."""

    name: str | None = None
    arguments: Raw = Raw()


class ToolCall(Struct, frozen=True):
    """A tool call, or a piece of one."""

    index: Any = None
    id: Any = None
    function: Function | None = None
    extra_content: Any = None
    """What the server wants back with the call in the next turn; Gemini's signature of the thoughts before it."""


class Said(Struct, frozen=True):
    """A message, or what a chunk adds to it."""

    content: str | tuple[Any, ...] | None = None
    """Mistral's thinking models answer with parts: `{"type": "thinking", "thinking": [{"type": "text", …}]}`."""
    reasoning_content: str | None = None
    reasoning: Any = None
    """The same under the name that newer vLLM, mlx_lm and OpenRouter give it."""
    refusal: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    reasoning_details: Any = None
    """OpenRouter: the thoughts in the form in which it wants them back."""
    extra_content: Any = None
    """As with a call of a tool, of the message as a whole."""


class Choice(Struct, frozen=True):
    """One of the answers; only the first is ever asked for."""

    index: Any = 0
    delta: Said | None = None
    message: Said | None = None
    finish_reason: Any = None
    stop_reason: Any = None
    """vLLM: the stop sequence that ended it, or the id of a token."""
    matched_stop: Any = None
    """The same of SGLang."""


class Chunk(Struct, frozen=True):
    """A chunk, or a whole answer."""

    id: Any = None
    choices: tuple[Choice, ...] | None = None
    usage: Any = None
    error: Any = None
    object: Any = None
    """"error" in the mid-stream errors of older vLLM, whose message stands beside it."""


def number(found: Any) -> int | None:
    """Read an index, which some servers write as text; None for what is none."""
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) <= _DIGITS_MAX:
        return int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def name_of(found: Any) -> str:
    """Read an id, which some servers write as a number; empty where there is none."""
    if isinstance(found, str):
        return found
    return str(found) if isinstance(found, int) and not isinstance(found, bool) else ""


def ending_of(choice: Choice) -> str:
    """Read why an answer ended; empty while it does not say."""
    return choice.finish_reason.lower() if isinstance(choice.finish_reason, str) else ""


def count(found: Any, name: str) -> int:
    """Read a number of tokens; what is no number counts as not known, for counting must never break an answer."""
    value = found.get(name) if isinstance(found, dict) else None
    return max(0, value) if isinstance(value, int) else 0
