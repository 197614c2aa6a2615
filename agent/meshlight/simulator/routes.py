"""From a request to its reply: key, path, body and model are looked at in the order real engines do."""

import hmac
from collections.abc import Awaitable, Callable
from typing import Any

from meshlight.demo import media, ollama_api, openai_text, responses, vectors
from meshlight.demo.habits import refused
from meshlight.demo.journal import Seen
from meshlight.demo.manner import Ask, BadAsk, Facts, decode_body
from meshlight.demo.reply import Reply, json_reply, text_reply

Answer = Callable[[Ask], Awaitable[Reply]]

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


async def answer(facts: Facts, seen: Seen, key: str | None) -> Reply:
    """Return what the engine answers; for inference that may take as long as its pace says."""
    manner = facts.manner
    if key is not None and not seen.path.startswith(manner.open_paths) and not _has_key(seen, key):
        return manner.error(401, "Incorrect API key provided.", "unauthorized")
    if seen.method in {"GET", "HEAD"}:
        look = manner.get.get(seen.path)
        return look(facts) if look is not None else manner.no_such_path(seen)
    if manner.refuses_chunked and seen.header("transfer-encoding") is not None:
        return text_reply("Length Required", 411)
    is_ollama = manner.kind == "ollama" and seen.path in OLLAMA
    work = OLLAMA[seen.path] if is_ollama else OPENAI.get(seen.path)
    if seen.method != "POST" or work is None:
        return manner.no_such_path(seen)
    try:
        return await _work(facts, seen, work)
    except BadAsk as error:
        return (
            json_reply({"error": str(error)}, 400)
            if is_ollama
            else manner.error(400, str(error), "bad_request")
        )


async def _work(facts: Facts, seen: Seen, work: Answer) -> Reply:
    body = _body(seen)
    asked = body.get("model")
    model = _served(facts, asked)
    if model is None:
        return _no_model(facts, seen, str(asked))
    if work is not ollama_api.show:  # looking at a model loads none
        facts.loaded.add(model)
    if seen.path == "/v1/chat/completions" and (reply := refused(facts.habit, body)) is not None:
        return reply
    ask = Ask(facts=facts, seen=seen, model=model, body=body)
    try:
        return await work(ask)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # A body of the wrong shape somewhere deep: real engines say 400 too, with their parser's words.
        raise BadAsk(f"the request is malformed: {error}") from error


def _body(seen: Seen) -> dict[str, Any]:
    kind = seen.header("content-type") or ""
    if kind.startswith("multipart/form-data"):
        return dict(media.form(kind, seen.body))
    return decode_body(seen.body)


def _served(facts: Facts, asked: Any) -> str | None:
    """Return the model that answers, by the id as it is listed; None where there is none."""
    if isinstance(asked, str):
        if asked in facts.models:
            return asked
        # Ollama reads a bare name as its `latest`.
        if facts.manner.kind == "ollama" and f"{asked}:latest" in facts.models:
            return f"{asked}:latest"
    if facts.manner.no_model_status is None or (asked is None and facts.manner.kind == "mlx"):
        return next(iter(facts.models), "")
    return None


def _no_model(facts: Facts, seen: Seen, asked: str) -> Reply:
    status = facts.manner.no_model_status or 404
    if seen.path in OLLAMA:
        return json_reply({"error": f"model '{asked}' not found"}, status)
    return facts.manner.error(status, f"The model `{asked}` does not exist.", "no_model")


def _has_key(seen: Seen, key: str) -> bool:
    given = seen.header("authorization") or ""
    return hmac.compare_digest(given.encode(), f"Bearer {key}".encode())
