"""The models of the mesh as OpenAI's `/v1/models` lists them, encoded once per change."""

import msgspec

from meshlight.domain.routing import listed, resolve
from meshlight.domain.snapshot import Snapshot
from meshlight.gateway.inference.request import check_name
from meshlight.gateway.inference.route_errors import no_such_model
from meshlight.gateway.models.other_lists import (
    anthropic_model,
    anthropic_models,
    gemini_model,
    gemini_models,
)
from meshlight.mesh.registry import Change, Registry


class ModelAvailability(msgspec.Struct, frozen=True):
    """What Meshlight adds to a model: the backends that serve it, and the alias's target."""

    backends: tuple[str, ...]
    alias_of: str | None = None


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """One model in OpenAI's shape (`GET /v1/models/{model}`)."""

    id: str
    object: str = "model"
    created: int
    owned_by: str
    meshlight: ModelAvailability


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's list shape."""

    object: str = "list"
    data: tuple[ModelCard, ...]


class ModelCatalog:
    """Answers `/v1/models`; `created` is the start of the service in Unix seconds: engines report nothing better."""

    def __init__(self, registry: Registry, created: int) -> None:
        self._registry = registry
        self._created = created
        self._bytes: bytes | None = None
        registry.listen(self._on_change)

    def answer(self, name: str, protocol: str) -> bytes:
        """Return the whole list, or one model if `name` names it, in the shape of a protocol.

        Raises ModelNotFound when no backend serves it.
        """
        check_name(name)
        snapshot = self._registry.snapshot
        match protocol:
            case "anthropic" if name:
                return anthropic_model(snapshot, name, self._created)
            case "anthropic":
                return anthropic_models(snapshot, self._created)
            case "gemini":
                return gemini_model(snapshot, name) if name else gemini_models(snapshot)
            case _:
                return self.one(name) if name else self.all()

    def all(self) -> bytes:
        """Return the whole list as JSON. Models whose routes are all down stay: they come back."""
        if self._bytes is None:
            snapshot = self._registry.snapshot
            cards = [self._card(snapshot, name, ids) for name, (_, ids) in listed(snapshot).items()]
            self._bytes = msgspec.json.encode(ModelList(data=tuple(cards)))
        return self._bytes

    def one(self, name: str) -> bytes:
        """Return one model as JSON, by any name that a request may use; raises ModelNotFound if none serves it."""
        snapshot = self._registry.snapshot
        ids = tuple(i for i in resolve(snapshot, name)[1] if snapshot.nodes[i].backend.enabled)
        if not ids:
            raise no_such_model(snapshot, name)
        return msgspec.json.encode(self._card(snapshot, name, ids))

    def invalidate(self) -> None:
        """Build the list again at the next request (the aliases changed)."""
        self._bytes = None

    def _card(self, snapshot: Snapshot, name: str, ids: tuple[str, ...]) -> ModelCard:
        wishes = snapshot.routing.wishes(name)
        target = resolve(snapshot, name)[0] if len(wishes) > 1 else next(iter(wishes), None)
        availability = ModelAvailability(ids, target)
        owner = snapshot.nodes[ids[0]].backend.kind
        return ModelCard(id=name, created=self._created, owned_by=owner, meshlight=availability)

    def _on_change(self, change: Change) -> None:
        if change.shape or change.removed:
            self._bytes = None
