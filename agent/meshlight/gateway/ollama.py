"""Ollama's own API: its clients see the whole mesh, whatever the models run on."""

from meshlight.backends.kind import OLLAMA_FACES, Face
from meshlight.domain.errors import MethodNotAllowed, NotFound
from meshlight.gateway.asgi import Receive, Scope
from meshlight.gateway.inbound import Inbound, read_inbound
from meshlight.mesh.registry import Registry

_FACES: dict[str, Face] = {f"/{face}": face for face in OLLAMA_FACES}


class Ollama:
    """Answers what is below `/api/`: lists by itself, the rest as a request to be relayed."""

    def __init__(self, registry: Registry, started: int, version: str) -> None:
        self._registry = registry
        self._started = started
        self._version = version

    async def answer(self, target: str, scope: Scope, receive: Receive) -> Inbound | bytes:
        """Return the body of a small answer, or the request that has to be relayed.

        Raises NotFound, MethodNotAllowed or BadRequest.
        """
        face = _FACES.get(target)
        if face is None:
            raise NotFound(f"There is no {target[:200]} here.", "Use /api/chat, /api/generate or /api/tags.")
        if scope["method"] != "POST":
            raise MethodNotAllowed(f"{target[:200]} takes POST, not {scope['method']}.")
        return await read_inbound(face, target, scope["headers"], receive)
