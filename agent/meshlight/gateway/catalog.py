"""The list of models that the mesh serves, as OpenAI's `/v1/models` gives it, encoded once per change."""

import msgspec

from meshlight.domain.errors import NoSuchModel
from meshlight.domain.near import near
from meshlight.domain.snapshot import Snapshot
from meshlight.mesh.registry import Change, Registry


class Place(msgspec.Struct, frozen=True):
    """What Meshlight adds to a model: the backends that serve it, and the alias's target."""

    backends: tuple[str, ...]
    alias_of: str | None = None


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """One model in OpenAI's shape (`GET /v1/models/{model}`)."""

    id: str
    object: str = "model"
    created: int
    owned_by: str
    meshlight: Place


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """OpenAI's list shape."""

    object: str = "list"
    data: tuple[ModelCard, ...]


class Catalog:
    """Answers `/v1/models`; `created` is the start of the service in Unix seconds, for engines tell no better."""

    def __init__(self, registry: Registry, created: int) -> None:
        self._registry = registry
        self._created = created
        self._bytes: bytes | None = None
        registry.listen(self._on_change)

    def all(self) -> bytes:
        """Return the whole list as JSON. Models whose routes are all down stay: they come back."""
        if self._bytes is None:
            snapshot = self._registry.snapshot
            cards = [self._card(snapshot, model, ids) for model, ids in snapshot.routes.items()]
            for alias, target in snapshot.routing.aliases.items():
                if alias not in snapshot.routes and target in snapshot.routes:
                    cards.append(self._card(snapshot, alias, snapshot.routes[target], target))
            self._bytes = msgspec.json.encode(ModelList(data=tuple(cards)))
        return self._bytes

    def one(self, name: str) -> bytes:
        """Return one model as JSON; NoSuchModel when nobody serves it."""
        snapshot = self._registry.snapshot
        target = snapshot.routing.aliases.get(name)
        ids = snapshot.routes.get(target or name)
        if ids is None:
            close = near(name, snapshot.routes)
            hint = f"Did you mean {' or '.join(close)}?" if close else "GET /v1/models lists those there are."
            raise NoSuchModel(f"No backend serves the model {name[:200]!r}.", hint)
        return msgspec.json.encode(self._card(snapshot, name, ids, target))

    def forget(self) -> None:
        """Build the list anew at the next question (the aliases changed)."""
        self._bytes = None

    def _card(
        self, snapshot: Snapshot, model: str, ids: tuple[str, ...], alias_of: str | None = None
    ) -> ModelCard:
        owner = snapshot.nodes[ids[0]].backend.kind
        return ModelCard(id=model, created=self._created, owned_by=owner, meshlight=Place(ids, alias_of))

    def _on_change(self, change: Change) -> None:
        if change.shape or change.removed:
            self._bytes = None
