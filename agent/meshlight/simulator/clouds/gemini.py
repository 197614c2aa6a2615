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
from meshlight.simulator.protocols.text import Script, count_tokens, prompt_of, write_script
from meshlight.simulator.protocols.vectors import vector_of
from meshlight.simulator.request_log import LoggedRequest
from meshlight.simulator.routes import answer as answer_as_openai

_LIST = "/v1beta/models"
_OPENAI = "/v1beta/openai/"
_PAGE = 50
_PAGE_MAX = 1_000
CONTEXT = 1_048_576


async def answer(facts: EngineFacts, logged: LoggedRequest, key: str) -> Reply:
    """Answer as Gemini does."""
    if logged.path.startswith(_OPENAI):
        inner = replace(logged, target="/v1/" + logged.target.removeprefix(_OPENAI))
        reply = await answer_as_openai(facts, inner, None)
        bearer = (logged.header("authorization") or "").removeprefix("Bearer ")
        if not hmac.compare_digest(bearer, key):
            reply = _wrong_key()
        # Its OpenAI-compatible API wraps the errors of its own API in a list of one.
        return reply if reply.status < 400 else replace(reply, body=b"[" + reply.body + b"]")
    given = logged.header("x-goog-api-key")
    if given is None:
        return gemini_error(403, "PERMISSION_DENIED", "Method doesn't allow unregistered callers.")
    if not hmac.compare_digest(given, key):
        return _wrong_key()
    if (logged.method, logged.path) == ("GET", _LIST):
        return _models(facts, logged)
    model, _, method = logged.path.removeprefix(f"{_LIST}/").partition(":")
    if logged.method != "POST" or not logged.path.startswith(f"{_LIST}/") or not method:
        return gemini_error(404, "NOT_FOUND", "The requested URL was not found on this server.")
    if model not in facts.models:
        message = f"models/{model} is not found for API version v1beta, or is not supported for {method}."
        return gemini_error(404, "NOT_FOUND", message)
    try:
        return await _work(
            EngineRequest(facts=facts, logged=logged, model=model, body=decode_body(logged.body)), method
        )
    except (BadEngineRequest, AttributeError, KeyError, TypeError, IndexError) as error:
        return gemini_error(400, "INVALID_ARGUMENT", f"Invalid JSON payload received. {error}")


async def _work(request: EngineRequest, method: str) -> Reply:
    match method:
        case "generateContent":
            script = _script(request)
            words = [word async for word in _words(request, script)]
            return json_reply(_piece(request, "".join(words), script, is_last=True))
        case "streamGenerateContent":
            is_sse = "alt=sse" in request.logged.target
            return (
                event_stream(_events(request, _script(request)))
                if is_sse
                else await _array(request, _script(request))
            )
        case "countTokens":
            return json_reply({"totalTokens": count_tokens(_prompt(request.body))})
        case "embedContent":
            return json_reply({"embedding": {"values": _vector(request.body)}})
        case "batchEmbedContents":
            values = [{"values": _vector(each)} for each in request.body["requests"]]
            return json_reply({"embeddings": values})
    return gemini_error(404, "NOT_FOUND", "The requested URL was not found on this server.")


def _models(facts: EngineFacts, logged: LoggedRequest) -> Reply:
    query = parse_qs(logged.target.partition("?")[2])
    size = min(int(query.get("pageSize", [str(_PAGE)])[0]), _PAGE_MAX)
    start = int(query.get("pageToken", ["0"])[0])
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


def _script(request: EngineRequest) -> Script:
    limit = (request.body.get("generationConfig") or {}).get("maxOutputTokens")
    return write_script(
        request.facts.speaker(request.model), _prompt(request.body), limit, request.facts.speech.length
    )


def _prompt(body: dict[str, Any]) -> str:
    return prompt_of(body["contents"][-1]["parts"])


def _vector(body: dict[str, Any]) -> list[float]:
    return vector_of(prompt_of(body["content"]["parts"]))


async def _words(request: EngineRequest, script: Script) -> AsyncGenerator[str, None]:
    for index, word in enumerate(script):
        await request.facts.speech.beat(index)
        yield word


async def _events(request: EngineRequest, script: Script) -> AsyncGenerator[bytes, None]:
    async for word in _words(request, script):
        yield data_event(_piece(request, word, script, is_last=False))
    yield data_event(_piece(request, "", script, is_last=True))


async def _array(request: EngineRequest, script: Script) -> Reply:
    """Answer a stream without `alt=sse`: one JSON list."""
    pieces = [_piece(request, word, script, is_last=False) async for word in _words(request, script)]
    return Reply(body=msgspec.json.encode([*pieces, _piece(request, "", script, is_last=True)]))


def _piece(request: EngineRequest, text: str, script: Script, *, is_last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}
    if is_last:
        candidate["finishReason"] = "MAX_TOKENS" if script.is_cut else "STOP"
    usage = {
        "promptTokenCount": script.prompt_tokens,
        "candidatesTokenCount": script.total,
        "totalTokenCount": script.prompt_tokens + script.total,
    }
    return {
        "candidates": [candidate],
        "usageMetadata": usage,
        "modelVersion": request.model,
        "responseId": new_id("resp"),
    }
