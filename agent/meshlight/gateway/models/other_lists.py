"""The mesh's models in the shapes of Anthropic's and Gemini's lists."""

import msgspec

from meshlight.backends.kinds import KINDS
from meshlight.domain.errors import NotFound
from meshlight.domain.operations import Operation
from meshlight.domain.routing import listed, resolve
from meshlight.domain.snapshot import Snapshot
from meshlight.gateway.inference.route_errors import AT_CHAT, no_such_model
from meshlight.gateway.translation.ollama.writer import moment

_GENERATE: Operation = "gemini/generateContent"


def anthropic_models(snapshot: Snapshot, created: int) -> bytes:
    """Return every model as `GET /v1/models` of Anthropic's API lists them; `created` in Unix seconds."""
    names = list(listed(snapshot))
    created_at = moment(created)
    page = {
        "data": [_anthropic(name, created_at) for name in names],
        "has_more": False,
        "first_id": names[0] if names else None,
        "last_id": names[-1] if names else None,
    }
    return msgspec.json.encode(page)


def anthropic_model(snapshot: Snapshot, name: str, created: int) -> bytes:
    """Return one model in Anthropic's shape; raises ModelNotFound."""
    if not resolve(snapshot, name)[1]:
        raise no_such_model(snapshot, name)
    return msgspec.json.encode(_anthropic(name, moment(created)))


def gemini_models(snapshot: Snapshot) -> bytes:
    """Return the models that can be used in Gemini's own protocol, as its API lists them."""
    found = listed(snapshot).items()
    shown = [_gemini(snapshot, name, model) for name, (model, ids) in found if _speaks_gemini(snapshot, ids)]
    return msgspec.json.encode({"models": shown})


def gemini_model(snapshot: Snapshot, name: str) -> bytes:
    """Return one model in Gemini's shape.

    Raises ModelNotFound when no backend serves it, and NotFound when no Gemini backend does.
    """
    model, backends = resolve(snapshot, name)
    if not backends:
        raise no_such_model(snapshot, name)
    if not _speaks_gemini(snapshot, backends):
        raise NotFound(f"{name[:200]!r} is not a model of Gemini's.", AT_CHAT)
    return msgspec.json.encode(_gemini(snapshot, name, model))


def _anthropic(name: str, created_at: str) -> dict[str, str]:
    return {"type": "model", "id": name, "display_name": name, "created_at": created_at}


def _speaks_gemini(snapshot: Snapshot, backends: tuple[str, ...]) -> bool:
    """Whether a backend of Gemini's API serves it; peers pass that on too, but don't report for which models."""
    nodes = (snapshot.nodes[backend].backend for backend in backends)
    kinds = (KINDS[backend.kind] for backend in nodes if backend.enabled)
    return any(kind.group != "peer" and kind.speaks(_GENERATE) for kind in kinds)


def _gemini(snapshot: Snapshot, name: str, model: str) -> dict[str, object]:
    shown: dict[str, object] = {"name": f"models/{name}", "displayName": name}
    reported = (snapshot.nodes[backend].details.get(model) for backend in snapshot.routes.get(model, ()))
    details = [detail for detail in reported if detail is not None]
    capabilities = {name for detail in details for name in detail.capabilities}
    only_embeds = "embeddings" in capabilities and "chat" not in capabilities
    shown["supportedGenerationMethods"] = (
        ["embedContent"] if only_embeds else ["generateContent", "countTokens"]
    )
    context = next((detail.context for detail in details if detail.context), None)
    return shown if context is None else {**shown, "inputTokenLimit": context}
