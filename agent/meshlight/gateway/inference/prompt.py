"""What the choice among several routes depends on in a request: its size, and the conversation that it continues.

It is worked out only where there is a choice, and in a thread for a large body.
"""

import re

from msgspec import Struct

from meshlight.backends.large_work import in_thread_if_large
from meshlight.domain.conversation import conversation_of
from meshlight.domain.operations import Operation
from meshlight.domain.prompt_size import estimate
from meshlight.gateway.inference.request import JSON, InferenceRequest
from meshlight.http_client.client import Headers

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
_ENDS = 4_096
"""Bytes at either end of a body that are searched for the limit of its answer."""
_LIMIT = re.compile(
    rb'"(?:max_tokens|max_completion_tokens|max_output_tokens|maxOutputTokens|num_predict)"\s*:\s*(\d{1,9})'
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
    return await in_thread_if_large(
        len(inbound.body), _read, inbound.head.model, inbound.headers, inbound.body
    )


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


def _read(model: str, headers: Headers, body: bytes) -> Reading:
    limit = _LIMIT.search(body[:_ENDS]) or (_LIMIT.search(body[-_ENDS:]) if len(body) > _ENDS else None)
    return Reading(estimate(body), int(limit[1]) if limit else 0, conversation_of(model, headers, body))
