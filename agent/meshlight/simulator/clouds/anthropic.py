"""Anthropic's Messages API, its list of models in pages, and its OpenAI-compatible endpoint."""

import hmac
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import parse_qs

from meshlight.simulator.clouds.errors import anthropic_error
from meshlight.simulator.habits import refused
from meshlight.simulator.http.reply import Reply, event_stream, json_reply, named_event
from meshlight.simulator.profile import BadEngineRequest, EngineFacts, EngineRequest, decode_body, new_id
from meshlight.simulator.protocols.text import Script, count_tokens, prompt_of, script
from meshlight.simulator.request_log import LoggedRequest
from meshlight.simulator.routes import answer as answer_as_openai

_PAGE = 20
_PAGE_MAX = 1_000
CONTEXT = 200_000


async def answer(facts: EngineFacts, seen: LoggedRequest, key: str) -> Reply:
    """Answer as Anthropic does."""
    if seen.path == "/v1/chat/completions":
        return await answer_as_openai(facts, seen, key)
    # Its clients sent the key in x-api-key until October 2026 and send a bearer token since; both open.
    given = seen.header("x-api-key") or (seen.header("authorization") or "").removeprefix("Bearer ")
    if not hmac.compare_digest(given, key):
        return anthropic_error(401, "authentication_error", "invalid x-api-key")
    if seen.header("anthropic-version") is None:
        return anthropic_error(400, "invalid_request_error", "anthropic-version: header is required")
    return await answer_openly(facts, seen)


async def answer_openly(facts: EngineFacts, seen: LoggedRequest) -> Reply:
    """Answer without looking at key and version."""
    try:
        match seen.method, seen.path:
            case "GET", "/v1/models":
                return _models(facts, seen)
            case "POST", "/v1/messages":
                ask = _ask(facts, seen)
                return refused(facts.habit, ask.body) or await _messages(ask)
            case "POST", "/v1/messages/count_tokens":
                return json_reply({"input_tokens": count_tokens(_prompt(_ask(facts, seen).body))})
    except BadEngineRequest as error:
        return anthropic_error(400, "invalid_request_error", str(error))
    except LookupError as error:
        return anthropic_error(404, "not_found_error", f"model: {error.args[0]}")
    return anthropic_error(404, "not_found_error", "Not Found")


def limits(left: int, limit: int) -> tuple[tuple[str, str], ...]:
    """Return the headers that tell what is left of how many requests."""
    now = datetime.now(UTC)
    whole = (now + timedelta(seconds=12)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return (
        ("date", format_datetime(now, usegmt=True)),
        ("anthropic-ratelimit-requests-limit", str(limit)),
        ("anthropic-ratelimit-requests-remaining", str(left)),
        ("anthropic-ratelimit-requests-reset", whole),
    )


def _models(facts: EngineFacts, seen: LoggedRequest) -> Reply:
    asked = parse_qs(seen.target.partition("?")[2])
    limit = asked.get("limit", [str(_PAGE)])[0]
    if not limit.isdigit() or not 1 <= int(limit) <= _PAGE_MAX:
        raise BadEngineRequest(f"limit: should be from 1 to {_PAGE_MAX}")
    after = asked.get("after_id", [""])[0]
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


def _ask(facts: EngineFacts, seen: LoggedRequest) -> EngineRequest:
    """Decode a request.

    Raises BadAsk for one that is malformed, LookupError for a model that is not there.
    """
    body = decode_body(seen.body)
    model = body.get("model")
    if not isinstance(model, str):
        raise BadEngineRequest("model: Field required")
    if model not in facts.models:
        raise LookupError(model)
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadEngineRequest("messages: Field required")
    return EngineRequest(facts=facts, seen=seen, model=model, body=body)


async def _messages(ask: EngineRequest) -> Reply:
    if ask.limit is None:
        raise BadEngineRequest("max_tokens: Field required")
    said = script(ask.facts.who(ask.model), _prompt(ask.body), ask.limit, ask.facts.speech.length)
    start: dict[str, Any] = {
        "id": new_id("msg"),
        "type": "message",
        "role": "assistant",
        "model": ask.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": said.prompt_tokens, "output_tokens": 1},
    }
    if ask.is_stream:
        return event_stream(_stream(ask, said, start))
    words = []
    for index, word in enumerate(said):
        await ask.facts.speech.beat(index)
        words.append(word)
    content = [{"type": "text", "text": "".join(words)}]
    usage = {"input_tokens": said.prompt_tokens, "output_tokens": said.total}
    return json_reply(start | {"content": content, "stop_reason": _stop(said), "usage": usage})


async def _stream(ask: EngineRequest, said: Script, start: dict[str, Any]) -> AsyncGenerator[bytes, None]:
    yield _event("message_start", message=start)
    yield _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
    yield _event("ping")
    for index, word in enumerate(said):
        await ask.facts.speech.beat(index)
        yield _event("content_block_delta", index=0, delta={"type": "text_delta", "text": word})
    yield _event("content_block_stop", index=0)
    delta = {"stop_reason": _stop(said), "stop_sequence": None}
    yield _event("message_delta", delta=delta, usage={"output_tokens": said.total})
    yield _event("message_stop")


def _event(name: str, **fields: Any) -> bytes:
    return named_event(name, {"type": name} | fields)


def _stop(said: Script) -> str:
    return "max_tokens" if said.is_cut else "end_turn"


def _prompt(body: dict[str, Any]) -> str:
    return prompt_of(body["messages"][-1])
