"""Anthropic's Messages API, its list of models in pages, and its OpenAI-compatible endpoint."""

import hmac
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs

from meshlight.simulator.clouds.errors import anthropic_error
from meshlight.simulator.habits import refusal
from meshlight.simulator.http.reply import Reply, event_stream, json_reply, named_event
from meshlight.simulator.profile import BadEngineRequest, EngineFacts, EngineRequest, decode_body, new_id
from meshlight.simulator.protocols.text import Script, count_tokens, prompt_of, write_script
from meshlight.simulator.request_log import LoggedRequest
from meshlight.simulator.routes import answer as answer_as_openai

_PAGE = 20
_PAGE_MAX = 1_000
CONTEXT = 200_000


async def answer(facts: EngineFacts, logged: LoggedRequest, key: str) -> Reply:
    """Answer as Anthropic does."""
    if logged.path == "/v1/chat/completions":
        return await answer_as_openai(facts, logged, key)
    # Clients sent the key in x-api-key until October 2026, and send a bearer token since; both are accepted.
    given = logged.header("x-api-key") or (logged.header("authorization") or "").removeprefix("Bearer ")
    if not hmac.compare_digest(given, key):
        return anthropic_error(401, "authentication_error", "invalid x-api-key")
    if logged.header("anthropic-version") is None:
        return anthropic_error(400, "invalid_request_error", "anthropic-version: header is required")
    return await answer_without_key(facts, logged)


async def answer_without_key(facts: EngineFacts, logged: LoggedRequest) -> Reply:
    """Answer without checking key and version."""
    try:
        match logged.method, logged.path:
            case "GET", "/v1/models":
                return _models(facts, logged)
            case "POST", "/v1/messages":
                request = _read_request(facts, logged)
                return refusal(facts.habit, request.body) or await _messages(request)
            case "POST", "/v1/messages/count_tokens":
                return json_reply({"input_tokens": count_tokens(_prompt(_read_request(facts, logged).body))})
    except BadEngineRequest as error:
        return anthropic_error(400, "invalid_request_error", str(error))
    except LookupError as error:
        return anthropic_error(404, "not_found_error", f"model: {error.args[0]}")
    return anthropic_error(404, "not_found_error", "Not Found")


def limits(left: int, limit: int) -> tuple[tuple[str, str], ...]:
    """Return the headers with the requests left, and the limit."""
    now = datetime.now(UTC)
    complete = (now + timedelta(seconds=12)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        ("date", format_datetime(now, usegmt=True)),
        ("anthropic-ratelimit-requests-limit", str(limit)),
        ("anthropic-ratelimit-requests-remaining", str(left)),
        ("anthropic-ratelimit-requests-reset", complete),
    )


def _models(facts: EngineFacts, logged: LoggedRequest) -> Reply:
    query = parse_qs(logged.target.partition("?")[2])
    limit = query.get("limit", [str(_PAGE)])[0]
    if not limit.isdigit() or not 1 <= int(limit) <= _PAGE_MAX:
        raise BadEngineRequest(f"limit: should be from 1 to {_PAGE_MAX}")
    after = query.get("after_id", [""])[0]
    start = facts.models.index(after) + 1 if after in facts.models else 0
    page = facts.models[start : start + int(limit)]
    yes = {"supported": True}
    entries = [
        {
            "type": "model",
            "id": model,
            "display_name": model,
            "created_at": "2026-01-01T00:00:00Z",
            "max_input_tokens": CONTEXT,
            "max_tokens": 64_000,
            "capabilities": {"image_input": yes, "thinking": yes, "batch": yes},
            "lifecycle": "active",
        }
        for model in page
    ]
    has_more = start + len(page) < len(facts.models)
    ends = {"first_id": page[0], "last_id": page[-1]} if page else {"first_id": None, "last_id": None}
    return json_reply({"data": entries, "has_more": has_more, **ends})


def _read_request(facts: EngineFacts, logged: LoggedRequest) -> EngineRequest:
    """Decode a request.

    Raises BadEngineRequest for a malformed one, LookupError for an unknown model.
    """
    body = decode_body(logged.body)
    model = body.get("model")
    if not isinstance(model, str):
        raise BadEngineRequest("model: Field required")
    if model not in facts.models:
        raise LookupError(model)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadEngineRequest("messages: Field required")
    return EngineRequest(facts=facts, logged=logged, model=model, body=body)


async def _messages(request: EngineRequest) -> Reply:
    if request.limit is None:
        raise BadEngineRequest("max_tokens: Field required")
    script = write_script(
        request.facts.speaker(request.model),
        _prompt(request.body),
        request.limit,
        request.facts.speech.length,
    )
    start: dict[str, Any] = {
        "id": new_id("msg"),
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": script.prompt_tokens, "output_tokens": 1},
    }
    if request.is_stream:
        return event_stream(_stream(request, script, start))
    words = []
    for index, word in enumerate(script):
        await request.facts.speech.beat(index)
        words.append(word)
    content = [{"type": "text", "text": "".join(words)}]
    usage = {"input_tokens": script.prompt_tokens, "output_tokens": script.total}
    return json_reply(start | {"content": content, "stop_reason": _stop(script), "usage": usage})


async def _stream(
    request: EngineRequest, script: Script, start: dict[str, Any]
) -> AsyncGenerator[bytes, None]:
    yield _event("message_start", message=start)
    yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield _event("ping")
    for index, word in enumerate(script):
        await request.facts.speech.beat(index)
        yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
    yield _event("content_block_stop", index=0)
    delta = {"stop_reason": _stop(script), "stop_sequence": None}
    yield _event("message_delta", delta=delta, usage={"output_tokens": script.total})
    yield _event("message_stop")


def _event(name: str, **fields: Any) -> bytes:
    return named_event(name, {"type": name} | fields)


def _stop(script: Script) -> str:
    return "max_tokens" if script.is_cut else "end_turn"


def _prompt(body: dict[str, Any]) -> str:
    return prompt_of(body["messages"][-1])
