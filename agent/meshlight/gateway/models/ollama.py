"""Ollama's own API: its clients see all models of the mesh, whatever runs them.

Lists are answered here, inference becomes a request for the relay. Only known facts are listed: for an unknown text,
Ollama's own value is the empty string. `size` is 0, because typed clients fail without it; `size_vram` and
`expires_at` of a loaded model are left out, because their empty values would mean "on the CPU" and "being unloaded".
For this machine's own models these are known; see `ollama_local`.
"""

from collections.abc import AsyncGenerator, Iterator, Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec import Struct

from meshlight.domain.backend import Kind, ModelDetail
from meshlight.domain.errors import BadRequest, ModelNotFound, NotFound, UpstreamError
from meshlight.domain.fallback import alternatives
from meshlight.domain.local_models import LOCAL_ID
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
from meshlight.gateway.models.keep_alive import read_keep_alive
from meshlight.gateway.models.ollama_local import OllamaLocal, show_local, without_hub
from meshlight.gateway.server.asgi import Receive, Scope
from meshlight.gateway.server.disconnect import DISCONNECT, DisconnectListeners
from meshlight.gateway.translation.ollama.writer import moment
from meshlight.mesh.backend_connections import BackendConnections
from meshlight.mesh.registry import Registry

SHOW_LIMIT = 64 * 1024
SHOW_ANSWER_LIMIT = 16 * 1024 * 1024
"""Bytes of what an Ollama answers about a model: with `verbose` it sends the whole vocabulary."""
SHOW_WITHIN_S = 5.0
_OPERATIONS: dict[str, Operation] = {f"/{operation}": operation for operation in OLLAMA_OPERATIONS}
_LISTS = frozenset({"/api/tags", "/api/ps", "/api/version"})
_FILES = {"/api/pull": "POST", "/api/delete": "DELETE"}
"""Paths about files of this machine's own models, and their methods."""


class _Show(Struct):
    model: str = ""
    name: str = ""


class Ollama:
    """Answers the paths below `/api/`: lists itself, the rest as a request to be relayed.

    `started` is the start of the service in Unix seconds, listed as the time of each model's last change, which no
    backend reports. What an Ollama backend answers about its own model is passed on; without `links` none is
    requested. `local` are this machine's own models, if it may have any.
    """

    def __init__(
        self,
        registry: Registry,
        started: int,
        own_version: str,
        links: BackendConnections | None = None,
        local: OllamaLocal | None = None,
    ) -> None:
        self._registry = registry
        self._links = links
        self._local = local
        self._started = started
        self._version = own_version

    async def answer(
        self, target: str, scope: Scope, receive: Receive
    ) -> InferenceRequest | bytes | AsyncGenerator[bytes, None]:
        """Return the body of a small answer, the lines of a long one, or the request that has to be relayed.

        Raises NotFound, ModelNotFound, MethodNotAllowed or BadRequest, and what loading and downloading raise.
        """
        snapshot = self._registry.snapshot
        guest = scope["extensions"].get(GUEST)
        operation = _OPERATIONS.get(target)
        if operation is not None:
            expect("POST", scope, target)
            inbound = await read_request(operation, target, scope["headers"], receive, guest=guest)
            return inbound if guest is not None else await self._own_request(inbound)
        if guest is not None:
            raise NotFound("Peers find the models at /peer/catalog.")
        if target in _LISTS:
            expect("GET", scope, target)
            return self._list(target, snapshot)
        if target == "/api/show":
            expect("POST", scope, target)
            body = await read_body(receive, SHOW_LIMIT)
            name = _name(body)
            check_name(name)
            return await self._show(snapshot, name, body)
        command = target.removeprefix("/api/").partition("/")[0]
        if self._local is not None and self._local.is_enabled and target in _FILES:
            expect(_FILES[target], scope, target)
            body = await read_body(receive, SHOW_LIMIT)
            if target == "/api/pull":
                disconnect: DisconnectListeners = scope["extensions"][DISCONNECT]
                return await self._local.pull(body, lambda: disconnect.gone)
            name = _name(body)
            check_name(name)
            return await self._local.delete(name, resolve(snapshot, name)[0])
        if command in REFUSED:
            raise NotFound(REFUSED[command])
        raise NotFound(
            f"There is no {target[:200]} here.", "Use /api/chat, /api/generate, /api/tags or /api/show."
        )

    def at_once(self, inbound: InferenceRequest) -> InferenceRequest | None:
        """Return what `answer` makes of a request of this machine's; None for one that only loads or unloads a model.

        Raises ModelNotFound or BadRequest.
        """
        made, local_model = self._named(inbound)
        if local_model is not None and self._local is not None and self._local.is_without_prompt(made):
            return None
        return made

    async def _own_request(self, inbound: InferenceRequest) -> InferenceRequest | bytes:
        """Return a request of this machine's, or the answer to one that only loads or unloads a model."""
        made, local_model = self._named(inbound)
        if local_model is not None and self._local is not None and self._local.is_without_prompt(made):
            return await self._local.without_prompt(made, local_model)
        return made

    def _named(self, inbound: InferenceRequest) -> tuple[InferenceRequest, str | None]:
        """Return a request as it is meant: which model, and for how long; that model if this machine has it."""
        snapshot, asked = self._registry.snapshot, inbound.head.model
        model, backends = resolve(snapshot, asked)
        if not backends and (found := resolve(snapshot, without_hub(asked)))[1]:
            model, backends = found
            inbound = inbound.changed(head=inbound.head.naming(without_hub(asked)), named=asked)
        if not backends and not alternatives(snapshot, asked):
            raise _missing(snapshot, asked)
        if (keep_alive_s := read_keep_alive(inbound.body)) is not None:
            inbound = inbound.changed(keep_alive_s=keep_alive_s)
        return inbound, model if LOCAL_ID in backends else None

    async def _show(self, snapshot: Snapshot, name: str, body: bytes) -> bytes:
        model, backends = resolve(snapshot, name)
        if not backends and (shorter := without_hub(name)) != name:
            name = shorter
            model, backends = resolve(snapshot, name)
        if not backends:
            raise _missing(snapshot, name)
        if self._local is not None and LOCAL_ID in backends and (view := self._local.find(model)) is not None:
            detail = _detail(snapshot, model, backends)
            reported = _capabilities(snapshot, backends, detail) if detail.capabilities else []
            return show_local(view, reported, self._started)
        return await self._show_at_backend(snapshot, name, body) or show(snapshot, name, self._started)

    async def _show_at_backend(self, snapshot: Snapshot, name: str, body: bytes) -> bytes | None:
        """Return what an Ollama backend answers about the model; None if none has it, or none answers."""
        model, backends = resolve(snapshot, name)
        for backend_id in backends if self._links is not None else ():
            node = snapshot.nodes[backend_id]
            link = self._links.get(backend_id) if self._links is not None else None
            is_usable = (
                node.backend.kind == "ollama" and node.backend.enabled and node.health.state != "unhealthy"
            )
            if link is None or not is_usable:
                continue
            headers = ((b"content-type", b"application/json"), *link.auth("api/chat"))
            own_body = _with_model(body, model)
            try:
                reply = await link.upstream.fetch(
                    "POST",
                    "/api/show",
                    headers=headers,
                    body=own_body,
                    timeout_s=SHOW_WITHIN_S,
                    limit=SHOW_ANSWER_LIMIT,
                )
            except UpstreamError:
                continue
            if reply.status == 200 and reply.body.lstrip().startswith(b"{"):
                return reply.body
        return None

    def _list(self, target: str, snapshot: Snapshot) -> bytes:
        if target == "/api/tags":
            return tags(snapshot, self._started, {} if self._local is None else self._local.sizes())
        if target == "/api/ps":
            return running(snapshot, {} if self._local is None else self._local.running())
        return version(self._version)


def _missing(snapshot: Snapshot, name: str) -> Exception:
    """Return the error for an unknown model with the text that Ollama's clients know."""
    found = no_such_model(snapshot, name)
    if isinstance(found, ModelNotFound):
        return ModelNotFound(f"model '{name[:200]}' not found.", found.hint)
    return found


def _with_model(body: bytes, model: str) -> bytes:
    """Return the request with the backend's name of the model."""
    fields: dict[str, object] = dict(msgspec.json.decode(body, type=dict[str, msgspec.Raw]))
    fields.pop("name", None)
    return msgspec.json.encode(fields | {"model": model})


def _name(body: bytes) -> str:
    try:
        request = msgspec.json.decode(body, type=_Show)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest("The body is not the JSON object it should be.", 'Send {"model": NAME}.') from error
    name = request.model or request.name
    if not name:
        raise BadRequest("The request names no model.", 'Send {"model": NAME}.', "model")
    return name


API_LEVEL = "0.13.0"
"""The version of Ollama's API that is served here: clients read it, and don't use what an older one would lack.

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
"""Path after `/api/` of what is about files of models, which Meshlight has none of → what to do instead."""

_CAPABILITY_NAMES = {
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
"""Capability of a model → Ollama's name for it; it has none for the others."""
_REPORT_TOOLS = frozenset[Kind]({"llamacpp", "lmstudio", "local", "ollama"})
"""Kinds that report whether a model calls tools: if they report capabilities without it, it does not."""
_NO_DETAIL = ModelDetail()
_NO_SIZES: Mapping[str, int] = {}
_NONE_LOCAL: Mapping[str, Mapping[str, Any]] = {}
_UNKNOWN = "unknown"
"""The architecture, which no backend reports; the context's length can't be listed without one."""


def tags(snapshot: Snapshot, started: int, sizes: Mapping[str, int] = _NO_SIZES) -> bytes:
    """Return every model as `GET /api/tags` lists them; `started` in Unix seconds stands for when they changed.

    `sizes` are bytes on disk by model, where they are known.
    """
    entries = []
    modified_at = moment(started)
    for name, (model, backends) in listed(snapshot).items():
        detail = _detail(snapshot, model, backends)
        entry = _entry(name, model, detail)
        entry["modified_at"] = modified_at
        entry["size"] = sizes.get(model, 0)
        if detail.capabilities:
            entry["capabilities"] = _capabilities(snapshot, backends, detail)
        entries.append(entry)
    return msgspec.json.encode({"models": entries})


def running(snapshot: Snapshot, local: Mapping[str, Mapping[str, Any]] = _NONE_LOCAL) -> bytes:
    """Return the models that a backend reports as loaded, as `GET /api/ps` lists them.

    `local` is what is known of this machine's own ones in memory, by model; the snapshot is behind it by a moment.
    """
    entries = [_entry(model, model, ModelDetail()) | dict(known) for model, known in local.items()]
    for model, backends in snapshot.routes.items():
        if model in local:
            continue
        details = list(_details(snapshot, model, tuple(b for b in backends if b != LOCAL_ID)))
        if not any(detail.loaded for detail in details):
            continue
        detail = _merged(details)
        entry = _entry(model, model, detail)
        if detail.context:
            entry["context_length"] = detail.context
        entries.append(entry)
    return msgspec.json.encode({"models": entries})


def show(snapshot: Snapshot, name: str, started: int) -> bytes:
    """Return one model as `POST /api/show` describes it; raises ModelNotFound."""
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
    """Return its capabilities; where no backend reports any, that it chats and calls tools.

    Clients read an empty list as "can do nothing", and leave such a model out of their menus. Most backends can't
    report tools, so a list of theirs without tools says nothing about them.
    """
    names = list(
        dict.fromkeys(_CAPABILITY_NAMES[name] for name in detail.capabilities if name in _CAPABILITY_NAMES)
    )
    if not detail.capabilities:
        return ["completion", "tools"]
    reports_tools = any(snapshot.nodes[backend].backend.kind in _REPORT_TOOLS for backend in backends)
    if "completion" in names and "tools" not in names and not reports_tools:
        names.append("tools")
    return names


def _details(snapshot: Snapshot, model: str, backends: tuple[str, ...]) -> Iterator[ModelDetail]:
    for backend in backends:
        node = snapshot.nodes[backend]
        detail = node.details.get(model) or node.details.get(node.names.get(model, ""))
        if node.backend.enabled and detail is not None:
            yield detail


def _detail(snapshot: Snapshot, model: str, backends: tuple[str, ...]) -> ModelDetail:
    return _merged(list(_details(snapshot, model, backends)))


def _merged(details: list[ModelDetail]) -> ModelDetail:
    """Return what applies to every route: the smallest context; for the rest, what the first one reports."""
    if len(details) < 2:
        return details[0] if details else _NO_DETAIL
    contexts = [detail.context for detail in details if detail.context]
    return ModelDetail(
        context=min(contexts, default=None),
        quantization=next((detail.quantization for detail in details if detail.quantization), ""),
        parameters=next((detail.parameters for detail in details if detail.parameters), ""),
        capabilities=next((detail.capabilities for detail in details if detail.capabilities), ()),
    )
