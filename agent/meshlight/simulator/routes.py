"""From a request to its reply: key, path, body and model are looked at in the order real engines do."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from meshlight.simulator.habits import refused
from meshlight.simulator.http.reply import Reply, json_reply, text_reply
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


async def answer(facts: EngineFacts, seen: LoggedRequest, key: str | None) -> Reply:
    """Return what the engine answers; for inference that may take as long as its pace says."""
    profile = facts.profile
    if key is not None and not seen.path.startswith(profile.open_paths) and not _has_key(seen, key):
        return profile.error(401, "Incorrect API key provided.", "unauthorized")
    if seen.method in {"GET", "HEAD"}:
        look = profile.get.get(seen.path)
        return look(facts) if look is not None else profile.no_such_path(seen)
    if profile.refuses_chunked and seen.header("transfer-encoding") is not None:
        return text_reply("Length Required", 411)
    is_ollama = profile.kind == "ollama" and seen.path in OLLAMA
    work = OLLAMA[seen.path] if is_ollama else OPENAI.get(seen.path)
    if seen.method != "POST" or work is None:
        return profile.no_such_path(seen)
    try:
        return await _work(facts, seen, work)
    except BadEngineRequest as error:
        return (
            json_reply({"error": str(error)}, 400)
            if is_ollama
            else profile.error(400, str(error), "bad_request")
        )


async def _work(facts: EngineFacts, seen: LoggedRequest, work: Answer) -> Reply:
    body = _body(seen)
    asked = body.get("model")
    model = _served(facts, asked)
    if model is None:
        return _no_model(facts, seen, str(asked))
    if work is not ollama_api.show:  # looking at a model loads none
        facts.loaded.add(model)
    if seen.path == "/v1/chat/completions" and (reply := refused(facts.habit, body)) is not None:
        return reply
    ask = EngineRequest(facts=facts, seen=seen, model=model, body=body)
    try:
        return await work(ask)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # A body of the wrong shape somewhere deep: real engines say 400 too, with their parser's words.
        raise BadEngineRequest(f"the request is malformed: {error}") from error


def _body(seen: LoggedRequest) -> dict[str, Any]:
    kind = seen.header("content-type") or ""
    if kind.startswith("multipart/form-data"):
        return dict(media.form(kind, seen.body))
    return decode_body(seen.body)


def _served(facts: EngineFacts, asked: Any) -> str | None:
    """Return the model that answers, by the id as it is listed; None where there is none."""
    if isinstance(asked, str):
        if asked in facts.models:
            return asked
        # Ollama reads a bare name as its `latest`.
        if facts.profile.kind == "ollama" and f"{asked}:latest" in facts.models:
            return f"{asked}:latest"
    if facts.profile.no_model_status is None or (asked is None and facts.profile.kind == "mlx"):
        return next(iter(facts.models), "")
    return None


def _no_model(facts: EngineFacts, seen: LoggedRequest, asked: str) -> Reply:
    status = facts.profile.no_model_status or 404
    if seen.path in OLLAMA:
        return json_reply({"error": f"model '{asked}' not found"}, status)
    return facts.profile.error(status, f"The model `{asked}` does not exist.", "no_model")


def _has_key(seen: LoggedRequest, key: str) -> bool:
    given = seen.header("authorization") or ""
    return hmac.compare_digest(given.encode(), f"Bearer {key}".encode())
