"""Translates OpenAI's Responses API to chat completions, for backends that have no `/v1/responses`.

The translation of a request, by OpenAI's references of both and what the Codex CLI sends:

- `instructions` and system or developer messages before the first turn become one system message; one inside the
  conversation becomes a marked part of the user's turn, as most chat templates allow none there.
- Items keep their order: thoughts, text and calls of one turn become one assistant message, results of tools become
  `tool` messages; their images follow in the user's message, the only one that may have images.
- `reasoning` items become `reasoning_content`: from `encrypted_content` if it was made here (encoded, not encrypted:
  an answer is no secret from its own client), else from their content or summary; what another service has encrypted
  is left out.
- Function tools stay; `custom` tools, `local_shell` and namespaces become functions and their calls come back in the
  original form (`tools`). Tools that OpenAI runs are refused, except those that agents offer with every request (web
  search, image generation, tool search): they are left out, with their calls in earlier turns.
- `text.format`, `tool_choice`, `parallel_tool_calls`, `temperature`, `top_p`, `max_output_tokens`, `user` and
  `reasoning.effort` have counterparts.
- `previous_response_id` puts the input and output of a stored response before the input; as at OpenAI, a response is
  stored unless `store` is false, and `instructions` are not carried over.
- Ignored, because they do not change the content of the answer: `metadata` (comes back), `client_metadata`,
  `prompt_cache_*`, `safety_identifier`, `stream_options`, and `include` for tools that do not exist here.
- Left out and named in the answer's `x-meshlight-dropped`: `truncation` other than "disabled", `service_tier`,
  `text.verbosity` and every unknown field.
- Refused: `background`, `conversation`, `moderation`, `prompt`, `top_logprobs`, files, items of other types.

The translation of an answer: reasoning becomes a `reasoning` item, its text in `summary` if the client requested a
summary, else in `content`; `length` and `content_filter` make the response incomplete, a fault in mid-stream makes it
`failed`.
"""

import secrets
import time
from collections.abc import Callable
from typing import Any

from msgspec import Raw
from msgspec.json import Encoder

from meshlight.gateway.translation.base import TranslatedRequest
from meshlight.gateway.translation.responses.memory import PREFIX, StoredResponses
from meshlight.gateway.translation.responses.request import ENCRYPTED, chat_request, input_items, read_request
from meshlight.gateway.translation.responses.response import ResponsesTranslator
from meshlight.gateway.translation.responses.schema import ResponsesRequest
from meshlight.gateway.translation.responses.stream_builder import AnswerOptions
from meshlight.gateway.translation.tool_calls import BackendTraits

_encode = Encoder().encode


def translate_responses(
    body: bytes,
    model: str,
    *,
    extensions: bool = True,
    signs: bool = False,
    stored: StoredResponses | None = None,
    clock: Callable[[], float] = time.time,
    number: str = "",
) -> TranslatedRequest:
    """Translate a body of `responses`; `model` is the route's, the answer names the one in the body.

    `extensions` says that the backend accepts fields that are not OpenAI's, `signs` that it demands its signatures of
    thoughts back; `stored` are the caller's responses, `clock` returns Unix seconds, and `number` is used in the ids
    (empty: random). Raises Untranslatable (and
    PreviousResponseUnknown) and BadRequest.
    """
    request, unknown = read_request(body)
    memory = stored if stored is not None else StoredResponses()
    previous = request.previous_response_id
    history: tuple[Raw, ...] = memory.history(previous) if previous else ()
    chat = chat_request(request, history, model, unknown, BackendTraits(extensions=extensions, signs=signs))
    reasoning = request.reasoning
    number = number or secrets.token_hex(16)
    keep: Callable[[bytes], None] | None = None
    if request.store is not False and stored is not None:
        items, response_id = input_items(request), f"{PREFIX}{number}"

        def keep(response: bytes) -> None:
            memory.keep(response_id, previous, items, response)

    options = AnswerOptions(
        number=number,
        created_at=int(clock()),
        echo=_echo(request),
        tools=chat.tools,
        is_stream=request.stream is True,
        with_summary=reasoning is not None and bool(reasoning.summary or reasoning.generate_summary),
        seals=ENCRYPTED in (request.include or ()),
        keep=keep,
    )
    return TranslatedRequest(
        "chat/completions", _encode(chat.body), ResponsesTranslator(options, clock), chat.dropped
    )


def _echo(request: ResponsesRequest) -> dict[str, Any]:
    """Return the fields of the request that a response repeats, with the API's defaults."""
    reasoning, text = request.reasoning, request.text
    form: Any = {"type": "text"}
    if text is not None and text.format is not None:
        given = text.format
        form = {"type": given.type}
        if given.type == "json_schema":
            form |= {"name": given.name, "schema": given.schema, "strict": given.strict}
            form |= {"description": given.description} if given.description else {}
    return {
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "metadata": _or(request.metadata, {}),
        "model": request.model,
        "parallel_tool_calls": request.parallel_tool_calls is not False,
        "previous_response_id": request.previous_response_id or None,
        "reasoning": {
            "effort": reasoning.effort if reasoning is not None else None,
            "summary": (reasoning.summary or reasoning.generate_summary) if reasoning is not None else None,
        },
        "service_tier": "default",
        "store": request.store is not False,
        "temperature": _or(request.temperature, 1.0),
        "text": {"format": form},
        "tool_choice": request.tool_choice or "auto",
        "tools": request.tools or (),
        "top_p": _or(request.top_p, 1.0),
        "truncation": "disabled",
    }


def _or(value: Raw, default: Any) -> Any:
    return value if bytes(value).strip() not in {b"", b"null"} else default
