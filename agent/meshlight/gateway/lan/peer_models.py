"""Loads and unloads models for a peer whose terms allow it: what it may use, and never by force.

A peer names a model as its catalog does, and nothing else: no path, no argument, no download. What it is told names
no backend and no other model of this machine.
"""

import msgspec
from msgspec import Struct

from meshlight.domain.errors import BadRequest, Conflict, MeshlightError, NotFound, OriginForbidden
from meshlight.domain.local_models import LOCAL_ID
from meshlight.domain.peers import Peer, may_use, own_id
from meshlight.domain.snapshot import Node
from meshlight.mesh.model_loading import ModelLoading
from meshlight.mesh.registry import Registry
from meshlight.mesh.traffic import Traffic

BODY_MAX = 4_096
"""Bytes of a peer's request."""


class _Named(Struct, frozen=True, forbid_unknown_fields=True):
    model: str


_named = msgspec.json.Decoder(_Named)


def read_named(body: bytes) -> str:
    """Return the model that a body names; raises BadRequest for a body with anything else in it."""
    try:
        return _named.decode(body).model
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequest(
            "The body names a model and nothing else.", 'Send {"model": NAME}.', "model"
        ) from None


def check_allowed(peer: Peer) -> None:
    """Raise OriginForbidden if a peer may not load and unload."""
    if not peer.may_manage:
        raise OriginForbidden(
            "The owner of that machine does not let this one load or unload its models.",
            "The owner can allow it: `may_manage` in the peers' settings there.",
        )


class PeerModels:
    """Acts for peers. What one loads comes beside what is there: nothing of the owner's makes room for it."""

    def __init__(self, registry: Registry, loading: ModelLoading, traffic: Traffic) -> None:
        self._registry = registry
        self._loading = loading
        self._traffic = traffic

    async def load(self, peer: Peer, name: str) -> None:
        """Load a model; raises OriginForbidden, NotFound, or Conflict if it can't be loaded now."""
        model, nodes = self._find(peer, name)
        if any(_is_loaded(node, model) for node in nodes):
            return
        node = min(nodes, key=lambda node: (node.backend.id != LOCAL_ID, node.health.state == "unhealthy"))
        try:
            await self._loading.load(node.backend.id, model, is_guest=True)
        except MeshlightError:
            raise Conflict(
                "It can't be loaded there now: there may be no room for it, or its engine has failed.",
                "The owner of that machine sees why.",
            ) from None

    async def unload(self, peer: Peer, name: str) -> None:
        """Unload a model wherever it is loaded; raises as `load` does, and Conflict while anybody uses it."""
        model, nodes = self._find(peer, name)
        loaded = [node for node in nodes if _is_loaded(node, model) is not False]
        if any(self._traffic.in_flight(node.backend.id, "", model) for node in loaded):
            raise Conflict("Somebody uses it now.", "Try again when it is idle.")
        try:
            for node in loaded:
                await self._loading.unload(node.backend.id, model, is_guest=True)
        except MeshlightError:
            raise Conflict(
                "It can't be unloaded there now: somebody may use it, or its owner keeps it in memory.",
                "The owner of that machine sees why.",
            ) from None

    def _find(self, peer: Peer, name: str) -> tuple[str, list[Node]]:
        """Return a model's id here, and what can be asked to load it for this peer."""
        check_allowed(peer)
        snapshot = self._registry.snapshot
        model = own_id(snapshot, peer, name)
        routes = (snapshot.nodes[backend] for backend in snapshot.routes.get(model, ()))
        nodes = [node for node in routes if may_use(peer, node.backend, model)]
        if not nodes:
            raise NotFound("No model of that name is shared with this machine.")
        able = [node for node in nodes if node.can_load]
        if not able:
            raise Conflict("What runs it can't be asked to load or unload models.")
        return model, able


def _is_loaded(node: Node, model: str) -> bool | None:
    detail = node.details.get(model)
    return None if detail is None else detail.loaded
