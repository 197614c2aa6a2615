"""What the choice among several routes depends on in a request: its size, and the conversation that it continues.

It is worked out only where there is a choice, and in a thread for a large body.
"""

import re

from msgspec import Struct

from meshlight.backends.large_work import in_thread_if_large
from meshlight.domain.conversation import conversation_of
from meshlight.domain.operations import Operation
from meshlight.domain.prompt_size import measure
from meshlight.gateway.inference.request import JSON, InferenceRequest

CONVERSES = frozenset[Operation](
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
FIELDS = 4_096
"""Bytes at either end of a large body in which its limits are looked for: the messages are in the middle."""
_ANSWER = re.compile(
    rb'(?<!\\)"(?:max_tokens|max_completion_tokens|max_output_tokens|maxOutputTokens|num_predict)"\s*:\s*(\d{1,9})\b'
)
_PREVIOUS_NAME = b'"previous_response_id"'
_PREVIOUS = re.compile(_PREVIOUS_NAME + rb'\s*:\s*"([^"\\]{1,200})"')
_MADE = re.compile(rb'"id"\s*:\s*"(resp[_-][^"\\]{1,200})"')
_HEAD = 2_048
"""The id of a response is within so many bytes of its beginning."""


class Reading(Struct, frozen=True):
    """What a request's body shows."""

    tokens: int = 0
    """Of the prompt, as estimated."""
    answer_tokens: int = 0
    """That the answer may have; 0 if it does not say."""
    conversation: bytes | None = None
    """The mark of the conversation."""


_NOTHING = Reading()


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


def previous_response(body: bytes) -> bytes:
    """Return the id of the response that a request continues; empty for none."""
    if _PREVIOUS_NAME not in body:
        return b""
    found = _PREVIOUS.search(body)
    return found[1] if found else b""


def made_response(first: bytes) -> bytes:
    """Return the id of the response with whose first bytes an answer begins; empty for none."""
    found = _MADE.search(first, 0, _HEAD)
    return found[1] if found else b""


def answer_tokens(body: bytes) -> int:
    """Return how many tokens the answer may have by the request; 0 where it does not say."""
    parts = (body,) if len(body) <= 2 * FIELDS else (body[:FIELDS], body[-FIELDS:])
    return max((int(found) for part in parts for found in _ANSWER.findall(part)), default=0)


def _read(inbound: InferenceRequest) -> Reading:
    body = inbound.body
    size = inbound.size or measure(body)
    mark = conversation_of(inbound.head.model, inbound.headers, body)
    return Reading(size.tokens, answer_tokens(body), mark)
