"""What the choice among several routes depends on in a request: its size, and the conversation that it continues.

It is worked out only where there is a choice, and in a thread for a large body.
"""

import re
from typing import Final

from meshlight.backends.large_work import in_thread_if_large
from meshlight.domain.backend import Kind
from meshlight.domain.conversation import conversation_of
from meshlight.domain.operations import Operation
from meshlight.domain.prompt_size import measure
from meshlight.gateway.inference.request import JSON, InferenceRequest

CONVERSES: Final = frozenset[Operation](
    {
        "chat/completions",
        "completions",
        "responses",
        "messages",
        "api/chat",
        "api/generate",
        "gemini/generateContent",
        "gemini/streamGenerateContent",
    }
)
"""Operations whose answers are written token by token."""
FIELDS: Final = 4_096
"""Bytes at either end of a large body in which its limits are looked for: the messages are in the middle."""
_ANSWER: Final = re.compile(
    rb'(?<!\\)"(?:max_tokens|max_completion_tokens|max_output_tokens|maxOutputTokens|num_predict)"\s*:\s*(\d{1,9})\b'
)
_TTL: Final = re.compile(rb'(?<!\\)"ttl"\s*:\s*(\d{1,9})\s*[,}]')


class Reading:
    """What a request's body shows."""

    __slots__ = ("answer_tokens", "conversation", "tokens")

    def __init__(self, tokens: int = 0, answer_tokens: int = 0, conversation: bytes | None = None) -> None:
        self.tokens = tokens
        """Of the prompt, as estimated."""
        self.answer_tokens = answer_tokens
        """That the answer may have; 0 if it does not say."""
        self.conversation = conversation
        """The mark of the conversation."""


_NOTHING: Final = Reading()


async def read_prompt(inbound: InferenceRequest) -> Reading:
    """Return what the body of a request shows; nothing for operations that don't converse."""
    if inbound.operation not in CONVERSES or inbound.content_type != JSON:
        return _NOTHING
    return await in_thread_if_large(len(inbound.body), _read, inbound)


def read_small_prompt(inbound: InferenceRequest) -> Reading:
    """Do the same at once, for a body that is small enough for that."""
    if inbound.operation not in CONVERSES or inbound.content_type != JSON:
        return _NOTHING
    return _read(inbound)


def answer_tokens(body: bytes) -> int:
    """Return how many tokens the answer may have by the request; 0 where it does not say."""
    if body.find(b'"max') == body.find(b'"num_predict') == -1:
        return 0
    if len(body) <= 2 * FIELDS:
        return max(map(int, _ANSWER.findall(body)), default=0)
    return max((int(found) for part in _ends(body) for found in _ANSWER.findall(part)), default=0)


def _ends(body: bytes) -> tuple[bytes, ...]:
    return (body,) if len(body) <= 2 * FIELDS else (body[:FIELDS], body[-FIELDS:])


def keep_s_of(inbound: InferenceRequest, kind: Kind) -> float | None:
    """Return for how long (seconds) an engine keeps the model in memory after this request; None if it says nothing.

    Ollama reads `keep_alive` in its own API alone; LM Studio reads `ttl`, a number of seconds. Negative: for as long
    as the engine runs.
    """
    if kind == "ollama":
        return inbound.keep_alive_s if inbound.operation.startswith("api/") else None
    if kind != "lmstudio":
        return None
    found = next((found for part in _ends(inbound.body) if (found := _TTL.search(part))), None)
    return float(found[1]) if found else None


def _read(inbound: InferenceRequest) -> Reading:
    body = inbound.body
    size = inbound.size or measure(body)
    mark = conversation_of(inbound.head.model, inbound.headers, body)
    return Reading(size.tokens, answer_tokens(body), mark)
