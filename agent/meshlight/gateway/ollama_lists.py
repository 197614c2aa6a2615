"""The mesh's models in the shapes of Ollama's lists, for clients of Ollama's API.

Only what is known is told: Ollama's own value for "not known" is empty text, so `details` has it where no backend
tells more. `size` is such a value too, 0, for typed clients fail without it; `size_vram` and `expires_at` of a model
in memory are left out, for their empty values would say "on the CPU" and "being unloaded".
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from meshlight.domain.backend import Kind
from meshlight.domain.model import ModelDetail
from meshlight.domain.routing import listed, resolve
from meshlight.domain.snapshot import Snapshot
from meshlight.gateway.last_word import no_such_model
from meshlight.gateway.translation.ollama_clock import moment

API_LEVEL = "0.13.0"
"""The Ollama whose API this is: clients ask for it, and hold back what an older one would not have known.

That is levels of `think` (0.11) and `logprobs` (0.12.11).
"""

REFUSED: Mapping[str, str] = {
    "pull": "Meshlight has no models of its own to pull into: pull the model on the machine that shall run it.",
    "push": "Meshlight has no models of its own to push: push it from the machine that has it.",
    "create": "Meshlight can't create models: create it on the machine that shall run it.",
    "copy": "Meshlight can't copy models: use an alias in its settings, or copy it on the machine that has it.",
    "delete": "Meshlight deletes no models: delete it on the machine that has it.",
    "blobs": "Meshlight stores no files of models: send them to the machine that shall run the model.",
}
"""What of Ollama's API is about files of models, by the word after `/api/`, and what to do instead."""

_WORDS = {
    "chat": "completion",
    "completion": "completion",
    "embeddings": "embedding",
    "vision": "vision",
    "audio": "audio",
    "tools": "tools",
    "thinking": "thinking",
    "image": "image",
    "speech": "speech",
}
"""Ollama's words for what a model can do; it has none for the others."""
_TELL_OF_TOOLS = frozenset[Kind]({"llamacpp", "lmstudio", "ollama"})
"""Kinds that say of a model whether it calls tools: of what they tell without tools, it does not."""
_UNKNOWN = "unknown"
"""The architecture, which no backend tells; the context's length can't be told without one."""


def tags(snapshot: Snapshot, started: int) -> bytes:
    """Return every model as `GET /api/tags` lists them; `started` in Unix seconds stands for when they changed."""
    entries = []
    for name, (model, backends) in listed(snapshot).items():
        detail = _detail(snapshot, model, backends)
        entry = _entry(name, model, detail) | {"modified_at": moment(started)}
        if detail.capabilities:
            entry["capabilities"] = _capabilities(snapshot, backends, detail)
        entries.append(entry)
    return msgspec.json.encode({"models": entries})


def running(snapshot: Snapshot) -> bytes:
    """Return the models that a backend says to have in memory, as `GET /api/ps` lists them."""
    entries = []
    for model, backends in snapshot.routes.items():
        details = list(_details(snapshot, model, backends))
        if not any(detail.loaded for detail in details):
            continue
        detail = _merged(details)
        entry = _entry(model, model, detail)
        if detail.context:
            entry["context_length"] = detail.context
        entries.append(entry)
    return msgspec.json.encode({"models": entries})


def show(snapshot: Snapshot, name: str, started: int) -> bytes:
    """Return one model as `POST /api/show` tells of it; raises NoSuchModel."""
    model, backends = resolve(snapshot, name)
    if not backends:
        raise no_such_model(snapshot, name)
    detail = _detail(snapshot, model, backends)
    info: dict[str, Any] = {"general.architecture": _UNKNOWN, "general.basename": model}
    if detail.context:
        info[f"{_UNKNOWN}.context_length"] = detail.context
    return msgspec.json.encode(
        {
            "details": _about(detail),
            "model_info": info,
            "capabilities": _capabilities(snapshot, backends, detail),
            "modified_at": moment(started),
        }
    )


def version(own: str) -> bytes:
    """Return the answer of `GET /api/version`: the API's level, and Meshlight's own version beside it."""
    return msgspec.json.encode({"version": API_LEVEL, "meshlight": own})


def _entry(name: str, model: str, detail: ModelDetail) -> dict[str, Any]:
    return {
        "name": name,
        "model": name,
        "size": 0,
        "digest": sha256(model.encode("utf-8", "replace")).hexdigest(),
        "details": _about(detail),
    }


def _about(detail: ModelDetail) -> dict[str, Any]:
    return {
        "parent_model": "",
        "format": "",
        "family": "",
        "families": None,
        "parameter_size": detail.parameters,
        "quantization_level": detail.quantization,
    }


def _capabilities(snapshot: Snapshot, backends: tuple[str, ...], detail: ModelDetail) -> list[str]:
    """Return what it can do; where nobody says, that it chats and calls tools.

    Clients read an empty list as "can do nothing", and leave such a model out of their menus. Most backends have no
    word for tools, so that their silence says nothing of them.
    """
    can = list(dict.fromkeys(_WORDS[word] for word in detail.capabilities if word in _WORDS))
    if not detail.capabilities:
        return ["completion", "tools"]
    tells = any(snapshot.nodes[backend].backend.kind in _TELL_OF_TOOLS for backend in backends)
    if "completion" in can and "tools" not in can and not tells:
        can.append("tools")
    return can


def _details(snapshot: Snapshot, model: str, backends: tuple[str, ...]) -> Iterator[ModelDetail]:
    for backend in backends:
        node = snapshot.nodes[backend]
        detail = node.details.get(model) or node.details.get(node.names.get(model, ""))
        if node.backend.enabled and detail is not None:
            yield detail


def _detail(snapshot: Snapshot, model: str, backends: tuple[str, ...]) -> ModelDetail:
    return _merged(list(_details(snapshot, model, backends)))


def _merged(details: list[ModelDetail]) -> ModelDetail:
    """Return what holds wherever a request goes: the smallest context; else what the first one says."""
    contexts = [detail.context for detail in details if detail.context]
    return ModelDetail(
        context=min(contexts, default=None),
        quantization=next((detail.quantization for detail in details if detail.quantization), ""),
        parameters=next((detail.parameters for detail in details if detail.parameters), ""),
        capabilities=next((detail.capabilities for detail in details if detail.capabilities), ()),
    )
