"""Ollama's own API: its clients see the whole mesh, whatever the models run on."""

import msgspec
from msgspec import Struct

from meshlight.backends.kind import OLLAMA_FACES, Face
from meshlight.domain.errors import BadRequest, NoSuchModel, NotFound, UpstreamError
from meshlight.domain.routing import resolve
from meshlight.domain.snapshot import Snapshot
from meshlight.gateway.asgi import Receive, Scope
from meshlight.gateway.bodies import check_name
from meshlight.gateway.inbound import GUEST, Inbound, expect, read_body, read_inbound
from meshlight.gateway.last_word import no_such_model
from meshlight.gateway.ollama_lists import REFUSED, running, show, tags, version
from meshlight.mesh.links import Links
from meshlight.mesh.registry import Registry

SHOW_LIMIT = 64 * 1024
SHOWN_LIMIT = 16 * 1024 * 1024
"""Bytes of what a real Ollama tells of a model: `verbose` brings its whole vocabulary."""
SHOW_WITHIN_S = 5.0
_FACES: dict[str, Face] = {f"/{face}": face for face in OLLAMA_FACES}
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
        self, registry: Registry, started: int, own_version: str, links: Links | None = None
    ) -> None:
        self._registry = registry
        self._links = links
        self._started = started
        self._version = own_version

    async def answer(self, target: str, scope: Scope, receive: Receive) -> Inbound | bytes:
        """Return the body of a small answer, or the request that has to be relayed.

        Raises NotFound, NoSuchModel, MethodNotAllowed or BadRequest.
        """
        snapshot = self._registry.snapshot
        guest = scope["extensions"].get(GUEST)
        face = _FACES.get(target)
        if face is not None:
            expect("POST", scope, target)
            inbound = await read_inbound(face, target, scope["headers"], receive, guest=guest)
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
    if isinstance(found, NoSuchModel):
        return NoSuchModel(f"model '{name[:200]}' not found.", found.hint)
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
