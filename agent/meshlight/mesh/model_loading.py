"""Loads and unloads models of any backend that can be asked to: this machine's own, engines, peers."""

from collections.abc import Awaitable, Callable
from functools import partial

from meshlight.backends.kinds import KINDS
from meshlight.backends.model_control import cannot
from meshlight.domain.backend import Backend
from meshlight.domain.errors import BackendCheckFailed, Conflict, NotFound, RouteUnavailable, UpstreamError
from meshlight.domain.local_models import LOCAL_ID, Demand
from meshlight.domain.snapshot import Node
from meshlight.domain.text import sanitize_line
from meshlight.http_client.client import Upstream
from meshlight.local_models.interfaces import LocalModels
from meshlight.mesh.backend_connections import BackendConnections
from meshlight.mesh.prober import Prober
from meshlight.mesh.registry import Registry
from meshlight.mesh.traffic import Traffic

_Act = Callable[[Upstream, Backend, str | None, str], Awaitable[None]]


class ModelLoading:
    """Loads and unloads by backend and model; `local` are this machine's own models, where they are switched on.

    A model is never unloaded while requests of ours run on it. What other programs do there only the engine knows.
    """

    def __init__(
        self,
        registry: Registry,
        connections: BackendConnections,
        prober: Prober,
        traffic: Traffic,
        local: LocalModels | None = None,
    ) -> None:
        self._registry = registry
        self._connections = connections
        self._prober = prober
        self._traffic = traffic
        self._local = local

    async def load(self, backend_id: str, name: str, *, is_guest: bool = False) -> None:
        """Load a model, and return when the backend says that it is loaded, or being loaded.

        For a guest nothing of the owner's is unloaded to make room. Raises NotFound, Conflict (it can't be asked to,
        or there is no room), BackendCheckFailed (it did not do it) or SecretError.
        """
        node, model = self._find(backend_id, name)
        if node.backend.id != LOCAL_ID:
            kind = KINDS[node.backend.kind]
            await self._ask(node, model, partial(kind.load_model, stays=not is_guest))
            return
        local = self._own(node.backend)
        own = local.model(model).id
        if not is_guest:
            await local.load(own)
            return
        try:
            await local.route(own, Demand(is_guest=True))
        except RouteUnavailable as error:
            raise Conflict(error.title, error.hint) from None

    async def unload(self, backend_id: str, name: str, *, is_guest: bool = False) -> None:
        """Unload a model; raises as `load` does, and Conflict while it answers, or if a guest's owner keeps it."""
        node, model = self._find(backend_id, name)
        if running := self._traffic.in_flight(backend_id, "", model):
            text = "1 request now" if running == 1 else f"{running} requests now"
            raise Conflict(f"{sanitize_line(model, 80)} answers {text}.", "Try again when it is idle.")
        if node.backend.id != LOCAL_ID:
            await self._ask(node, model, KINDS[node.backend.kind].unload_model)
            return
        local = self._own(node.backend)
        view = local.model(model)
        if is_guest and view.keep:
            raise Conflict(f"The owner of that machine keeps {sanitize_line(model, 80)} in memory.")
        await local.unload(view.id)

    def _find(self, backend_id: str, name: str) -> tuple[Node, str]:
        node = self._registry.node(backend_id)
        if not node.backend.enabled:
            raise cannot(node.backend, "it is switched off.", "Switch it on first.")
        if not node.can_load:
            raise cannot(node.backend, *_why_not(node.backend))
        model = node.names.get(name) or name
        if not node.serves(name) and name not in node.unusable:
            raise NotFound(
                f"{node.backend.name} has no model {sanitize_line(name, 80)!r}.",
                "Refresh: its list of models may have changed.",
            )
        return node, model

    def _own(self, backend: Backend) -> LocalModels:
        if self._local is None:
            raise cannot(
                backend, "this machine's own models are switched off.", "See [local] in the configuration."
            )
        return self._local

    async def _ask(self, node: Node, model: str, act: _Act) -> None:
        backend = node.backend
        connection = self._connections.put(backend)
        secret = await self._connections.read_secret(connection)
        try:
            await act(connection.upstream, backend, secret, model)
        except UpstreamError as error:
            why = connection.kind.explain(error, backend)
            raise BackendCheckFailed(why.text, why.fix) from error
        finally:
            self._connections.check_now(backend.id)
            self._prober.probe_soon(backend.id)


def _why_not(backend: Backend) -> tuple[str, str]:
    if backend.kind == "peer":
        return (
            "its owner does not let this machine do that.",
            "The owner can allow it: `may_manage` of this machine in the peers' settings there.",
        )
    if backend.kind == "llamacpp":
        return "it runs one model, which it loads when it starts.", "Start it as a router of many models."
    return f"{KINDS[backend.kind].label} has no such request.", ""
