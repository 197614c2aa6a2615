"""Answers of chat completions as they are decoded.

What only tells things apart (ids, indices) may be a number or text.
"""

from typing import Any

from msgspec import Raw, Struct


class Function(Struct, frozen=True, gc=False):
    """The function of a tool call; some servers send the arguments as an object instead of text."""

    name: str | None = None
    arguments: Raw = Raw()


class ToolCall(Struct, frozen=True):
    """A tool call, or a piece of one."""

    index: Any = None
    id: Any = None
    function: Function | None = None
    extra_content: Any = None
    """State that the server wants back with the call in the next turn: Gemini's signature of its thoughts."""


class MessageDelta(Struct, frozen=True):
    """A message, or what a chunk adds to it."""

    content: str | tuple[Any, ...] | None = None
    """Mistral's thinking models answer with parts: `{"type": "thinking", "thinking": [{"type": "text", …}]}`."""
    reasoning_content: str | None = None
    reasoning: Any = None
    """The same by the name that newer vLLM, mlx_lm and OpenRouter use."""
    refusal: str | None = None
    tool_calls: tuple[ToolCall, ...] | None = None
    reasoning_details: Any = None
    """OpenRouter: the thoughts in the form in which it wants them back."""
    extra_content: Any = None
    """As in a tool call, for the message as a whole."""


class Choice(Struct, frozen=True):
    """One of the answers; only the first is ever requested."""

    index: Any = 0
    delta: MessageDelta | None = None
    message: MessageDelta | None = None
    finish_reason: Any = None
    stop_reason: Any = None
    """vLLM: the stop sequence that ended it, or the id of a token."""
    matched_stop: Any = None
    """The same in SGLang."""


class Chunk(Struct, frozen=True):
    """A chunk, or a complete answer."""

    id: Any = None
    choices: tuple[Choice, ...] | None = None
    usage: Any = None
    error: Any = None
    object: Any = None
    """"error" in the mid-stream errors of older vLLM, whose message is beside it."""
