"""The parts of a request's body that show which conversation it belongs to."""

from typing import Any

from msgspec import Raw, Struct

_NOTHING = Raw()


class ConversationBody(Struct, frozen=True):
    """What names a conversation, or is its beginning, in any of the protocols."""

    messages: Raw = _NOTHING
    input: Raw = _NOTHING
    contents: Raw = _NOTHING
    prompt: Raw = _NOTHING
    system: Raw = _NOTHING
    instructions: Raw = _NOTHING
    systemInstruction: Raw = _NOTHING  # noqa: N815 - Gemini's name
    conversation: Any = None
    prompt_cache_key: Any = None
    metadata: Any = None
    user: Any = None


class Turn(Struct, frozen=True):
    """One of the messages."""

    role: str | None = None
