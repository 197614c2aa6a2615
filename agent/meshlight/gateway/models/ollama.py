"""Ollama's own API: its clients see the whole mesh, whatever the models run on.

The mesh's models in the shapes of Ollama's lists, for clients of Ollama's API.

Only what is known is told: Ollama's own value for "not known" is empty text, so `details` has it where no backend
tells more. `size` is such a value too, 0, for typed clients fail without it; `size_vram` and `expires_at` of a model
in memory are left out, for their empty values would say "on the CPU" and "being unloaded".
"""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from meshlight.domain.backend import Kind, ModelDetail
from meshlight.domain.errors import BadRequest, ModelNotFound, NotFound, UpstreamError
from meshlight.domain.operations import OLLAMA_OPERATIONS, Operation
from meshlight.domain.routing import listed, resolve
from meshlight.domain.snapshot import Snapshot
from meshlight.gateway.inference.request import (
    GUEST,
    InferenceRequest,
    check_name,
    expect,
    read_body,
    read_request,
)
from meshlight.gateway.inference.route_errors import no_such_model
from meshlight.gateway.server.asgi import Receive, Scope
from meshlight.gateway.translation.ollama.writer import moment
from meshlight.mesh.backend_connections import BackendConnections
from meshlight.mesh.registry import Registry

SHOW_LIMIT = 64 * 1024
SHOWN_LIMIT = 16 * 1024 * 1024
"""Bytes of what a real Ollama tells of a model: `verbose` brings its whole vocabulary."""
SHOW_WITHIN_S = 5.0
_FACES: dict[str, Operation] = {f"/{operation}": operation for operation in OLLAMA_OPERATIONS}
_LISTS = frozenset({"/api/tags", "/api/ps", "/api/version"})


class _Show(Struct):
    model: str = ""
    name: str = ""


class Ollama:
    """Answers what is below `/api/`: lists by itself, the rest as a request to be relayed.

    `started` is the start of the service in Unix seconds, for no list tells when a model was changed. What a real
    Ollama tells of a model of its own is passed on; without `links` none is asked.
    """

    def __init__(
        self, registry: Registry, started: int, own_version: str, links: BackendConnections | None = None
    ) -> None:
        self._registry = registry
        self._links = links
        self._started = started
        self._version = own_version

    async def answer(self, target: str, scope: Scope, receive: Receive) -> InferenceRequest | bytes:
        """Return the body of a small answer, or the request that has to be relayed.

        Raises NotFound, NoSuchModel, MethodNotAllowed or BadRequest.
        """
        snapshot = self._registry.snapshot
        guest = scope["extensions"].get(GUEST)
        operation = _FACES.get(target)
        if operation is not None:
            expect("POST", scope, target)
            inbound = await read_request(operation, target, scope["headers"], receive, guest=guest)
            if guest is None and not resolve(snapshot, inbound.head.model)[1]:
                raise _missing(snapshot, inbound.head.model)
            return inbound
        if guest is not None:
            raise NotFound("Peers are told of models by /peer/catalog.")
        if target in _LISTS:
            expect("GET", scope, target)
            return self._list(target, snapshot)
        if target == "/api/show":
            expect("POST", scope, target)
            body = await read_body(receive, SHOW_LIMIT)
            name = _name(body)
            check_name(name)
            if not resolve(snapshot, name)[1]:
                raise _missing(snapshot, name)
            return await self._shown_there(snapshot, name, body) or show(snapshot, name, self._started)
        word = target.removeprefix("/api/").partition("/")[0]
        if word in REFUSED:
            raise NotFound(REFUSED[word])
        raise NotFound(
            f"There is no {target[:200]} here.", "Use /api/chat, /api/generate, /api/tags or /api/show."
        )

    async def _shown_there(self, snapshot: Snapshot, name: str, body: bytes) -> bytes | None:
        """Return what a real Ollama says of a model of its own; None where none has it, or none answers."""
        model, backends = resolve(snapshot, name)
        for backend_id in backends if self._links is not None else ():
            node = snapshot.nodes[backend_id]
            link = self._links.get(backend_id) if self._links is not None else None
            is_there = (
                node.backend.kind == "ollama" and node.backend.enabled and node.health.state != "unhealthy"
            )
            if link is None or not is_there:
                continue
            headers = ((b"content-type", b"application/json"), *link.auth("api/chat"))
            asked = _with_model(body, model)
            try:
                reply = await link.upstream.fetch(
                    "POST",
                    "/api/show",
                    headers=headers,
                    body=asked,
                    timeout_s=SHOW_WITHIN_S,
                    limit=SHOWN_LIMIT,
                )
            except UpstreamError:
                continue
            if reply.status == 200 and reply.body.lstrip().startswith(b"{"):
                return reply.body
        return None

    def _list(self, target: str, snapshot: Snapshot) -> bytes:
        if target == "/api/tags":
            return tags(snapshot, self._started)
        return running(snapshot) if target == "/api/ps" else version(self._version)


def _missing(snapshot: Snapshot, name: str) -> Exception:
    """Say it in the words by which Ollama's clients know it."""
    found = no_such_model(snapshot, name)
    if isinstance(found, ModelNotFound):
        return ModelNotFound(f"model '{name[:200]}' not found.", found.hint)
    return found


def _with_model(body: bytes, model: str) -> bytes:
    """Return the request with the name by which that Ollama knows the model."""
    fields: dict[str, object] = dict(msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
    fields.pop("name", None)
    return msgspec.json.encode(fields | {"model": model})


def _name(body: bytes) -> str:
    try:
        asked = msgspec.json.decode(body, type=_Show)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("The body is not the JSON object it should be.", 'Send {"model": NAME}.') from error
    name = asked.model or asked.name
    if not name:
        raise BadRequest("The request names no model.", 'Send {"model": NAME}.', "model")
    return name


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
