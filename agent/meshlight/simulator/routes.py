"""From a request to its reply: checks key, path, body and model in the order in which real engines do."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from meshlight.simulator.habits import refusal
from meshlight.simulator.http.reply import Reply, json_reply, text_reply
from meshlight.simulator.model_control import control
from meshlight.simulator.profile import BadEngineRequest, EngineFacts, EngineRequest, decode_body
from meshlight.simulator.protocols import media, vectors
from meshlight.simulator.protocols import ollama as ollama_api
from meshlight.simulator.protocols import openai as openai_text
from meshlight.simulator.protocols import openai as responses
from meshlight.simulator.request_log import LoggedRequest

Answer = Callable[[EngineRequest], Awaitable[Reply]]

OPENAI: dict[str, Answer] = {
    "/v1/chat/completions": openai_text.chat,
    "/v1/completions": openai_text.completion,
    "/v1/responses": responses.responses,
    "/v1/embeddings": vectors.embeddings,
    "/v1/rerank": vectors.rerank,
    "/v1/images/generations": media.images,
    "/v1/images/edits": media.images,
    "/v1/images/variations": media.images,
    "/v1/audio/speech": media.speech,
    "/v1/audio/transcriptions": media.transcription,
    "/v1/audio/translations": media.transcription,
}
OLLAMA: dict[str, Answer] = {
    "/api/chat": ollama_api.chat,
    "/api/generate": ollama_api.generate,
    "/api/embed": ollama_api.embed,
    "/api/embeddings": ollama_api.embeddings,
    "/api/show": ollama_api.show,
}


async def answer(facts: EngineFacts, logged: LoggedRequest, key: str | None) -> Reply:
    """Return the engine's answer; inference takes as long as the engine's speech does."""
    profile = facts.profile
    if key is not None and not logged.path.startswith(profile.open_paths) and not has_key(logged, key):
        return profile.error(401, "Incorrect API key provided.", "unauthorized")
    if logged.method in {"GET", "HEAD"}:
        reader = profile.get.get(logged.path)
        return reader(facts) if reader is not None else profile.no_such_path(logged)
    if profile.refuses_chunked and logged.header("transfer-encoding") is not None:
        return text_reply("Length Required", 411)
    if (controlled := control(facts, logged)) is not None:
        return controlled
    is_ollama = profile.kind == "ollama" and logged.path in OLLAMA
    handler = OLLAMA[logged.path] if is_ollama else OPENAI.get(logged.path)
    if logged.method != "POST" or handler is None:
        return profile.no_such_path(logged)
    try:
        return await _handle(facts, logged, handler)
    except BadEngineRequest as error:
        return (
            json_reply({"error": str(error)}, 400)
            if is_ollama
            else profile.error(400, str(error), "bad_request")
        )


async def _handle(facts: EngineFacts, logged: LoggedRequest, handler: Answer) -> Reply:
    body = _body(logged)
    name = body.get("model")
    model = _served(facts, name)
    if model is None:
        return _no_model(facts, logged, str(name))
    if handler is not ollama_api.show:  # reading about a model does not load it
        if facts.load_s and model not in facts.loaded:
            await facts.speech.pace(facts.load_s)
        facts.loaded.add(model)
    if logged.path == "/v1/chat/completions" and (reply := refusal(facts.habit, body)) is not None:
        return reply
    request = EngineRequest(facts=facts, logged=logged, model=model, body=body)
    try:
        return await handler(request)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # A nested field of the wrong type: real engines answer 400 too, with their parser's message.
        raise BadEngineRequest(f"the request is malformed: {error}") from error


def _body(logged: LoggedRequest) -> dict[str, Any]:
    kind = logged.header("content-type") or ""
    if kind.startswith("multipart/form-data"):
        return dict(media.form(kind, logged.body))
    return decode_body(logged.body)


def _served(facts: EngineFacts, name: Any) -> str | None:
    """Return the listed id of the model that answers; None if there is none."""
    if isinstance(name, str):
        if name in facts.models:
            return name
        # Ollama reads a name without a tag as `:latest`.
        if facts.profile.kind == "ollama" and f"{name}:latest" in facts.models:
            return f"{name}:latest"
    if facts.profile.no_model_status is None or (name is None and facts.profile.kind == "mlx"):
        return next(iter(facts.models), "")
    return None


def _no_model(facts: EngineFacts, logged: LoggedRequest, name: str) -> Reply:
    status = facts.profile.no_model_status or 404
    if logged.path in OLLAMA:
        return json_reply({"error": f"model '{name}' not found"}, status)
    return facts.profile.error(status, f"The model `{name}` does not exist.", "no_model")


def has_key(logged: LoggedRequest, key: str) -> bool:
    """Whether a request has the key as a bearer token."""
    given = logged.header("authorization") or ""
    return hmac.compare_digest(given.encode(), f"Bearer {key}".encode())
