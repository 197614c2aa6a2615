"""Gemini's own API, its list of models in pages, and its OpenAI-compatible paths."""

import hmac
from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import parse_qs

import msgspec
from msgspec.structs import replace

from meshlight.simulator.clouds.errors import gemini_error
from meshlight.simulator.http.reply import Reply, data_event, event_stream, json_reply
from meshlight.simulator.profile import BadEngineRequest, EngineFacts, EngineRequest, decode_body, new_id
from meshlight.simulator.protocols.text import Script, count_tokens, prompt_of, script
from meshlight.simulator.protocols.vectors import vector_of
from meshlight.simulator.request_log import LoggedRequest
from meshlight.simulator.routes import answer as answer_as_openai

_LIST = "/v1beta/models"
_OPENAI = "/v1beta/openai/"
_PAGE = 50
_PAGE_MAX = 1_000
CONTEXT = 1_048_576


async def answer(facts: EngineFacts, seen: LoggedRequest, key: str) -> Reply:
    """Answer as Gemini does."""
    if seen.path.startswith(_OPENAI):
        inner = replace(seen, target="/v1/" + seen.target.removeprefix(_OPENAI))
        reply = await answer_as_openai(facts, inner, None)
        bearer = (seen.header("authorization") or "").removeprefix("Bearer ")
        if not hmac.compare_digest(bearer, key):
            reply = _wrong_key()
        # Its OpenAI face puts what its own API says into a list of one.
        return reply if reply.status < 400 else replace(reply, body=b"[" + reply.body + b"]")
    given = seen.header("x-goog-api-key")
    if given is None:
        return gemini_error(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")
    if not hmac.compare_digest(given, key):
        return _wrong_key()
    if (seen.method, seen.path) == ("GET", _LIST):
        return _models(facts, seen)
    model, _, method = seen.path.removeprefix(f"{_LIST}/").partition(":")
    if seen.method != "POST" or not seen.path.startswith(f"{_LIST}/") or not method:
        return gemini_error(404, "NOT_FOUND", "The requested URL was not found on this server.")
    if model not in facts.models:
        message = f"models/{model} is not found for API version v1beta, or is not supported for {method}."
        return gemini_error(404, "NOT_FOUND", message)
    try:
        return await _work(
            EngineRequest(facts=facts, seen=seen, model=model, body=decode_body(seen.body)), method
        )
    except (BadEngineRequest, AttributeError, KeyError, TypeError, IndexError) as error:
        return gemini_error(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. {error}")


async def _work(ask: EngineRequest, method: str) -> Reply:
    match method:
        case "generateContent":
            said = _script(ask)
            words = [word async for word in _words(ask, said)]
            return json_reply(_piece(ask, "".join(words), said, is_last=True))
        case "streamGenerateContent":
            is_sse = "alt=sse" in ask.seen.target
            return event_stream(_events(ask, _script(ask))) if is_sse else await _array(ask, _script(ask))
        case "countTokens":
            return json_reply({"totalTokens": count_tokens(_prompt(ask.body))})
        case "embedContent":
            return json_reply({"embedding": {"values": _vector(ask.body)}})
        case "batchEmbedContents":
            values = [{"values": _vector(each)} for each in ask.body["requests"]]
            return json_reply({"embeddings": values})
    return gemini_error(404, "NOT_FOUND", "The requested URL was not found on this server.")


def _models(facts: EngineFacts, seen: LoggedRequest) -> Reply:
    asked = parse_qs(seen.target.partition("?")[2])
    size = min(int(asked.get("pageSize", [str(_PAGE)])[0]), _PAGE_MAX)
    start = int(asked.get("pageToken", ["0"])[0])
    page = facts.models[start : start + size]
    body: dict[str, Any] = {
        "models": [
            {
                "name": f"models/{model}",
                "version": "001",
                "displayName": model,
                "inputTokenLimit": CONTEXT,
                "outputTokenLimit": 65_536,
                "supportedGenerationMethods": ["embedContent"]
                if "embed" in model
                else ["generateContent", "countTokens"],
            }
            for model in page
        ]
    }
    if start + len(page) < len(facts.models):
        body["nextPageToken"] = str(start + len(page))
    return json_reply(body)


def _wrong_key() -> Reply:
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
    return gemini_error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", [info])


def _script(ask: EngineRequest) -> Script:
    limit = (ask.body.get("generationConfig") or {}).get("maxOutputTokens")
    return script(ask.facts.who(ask.model), _prompt(ask.body), limit, ask.facts.speech.length)


def _prompt(body: dict[str, Any]) -> str:
    return prompt_of(body["contents"][-1]["parts"])


def _vector(body: dict[str, Any]) -> list[float]:
    return vector_of(prompt_of(body["content"]["parts"]))


async def _words(ask: EngineRequest, said: Script) -> AsyncGenerator[str, None]:
    for index, word in enumerate(said):
        await ask.facts.speech.beat(index)
        yield word


async def _events(ask: EngineRequest, said: Script) -> AsyncGenerator[bytes, None]:
    async for word in _words(ask, said):
        yield data_event(_piece(ask, word, said, is_last=False))
    yield data_event(_piece(ask, "", said, is_last=True))


async def _array(ask: EngineRequest, said: Script) -> Reply:
    """Answer a stream that was not asked for as events: one JSON list."""
    pieces = [_piece(ask, word, said, is_last=False) async for word in _words(ask, said)]
    return Reply(body=msgspec.json.encode([*pieces, _piece(ask, "", said, is_last=True)]))


def _piece(ask: EngineRequest, text: str, said: Script, *, is_last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    if is_last:
        candidate["finishReason"] = "MAX_TOKENS" if said.is_cut else "STOP"
    usage = {
        "promptTokenCount": said.prompt_tokens,
        "candidatesTokenCount": said.total,
        "totalTokenCount": said.prompt_tokens + said.total,
    }
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": ask.model,
        "responseId": new_id("resp"),
    }
