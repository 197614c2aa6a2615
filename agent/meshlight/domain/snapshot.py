"""The state of the mesh at one moment: published by the registry, immutable."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

from meshlight.domain.backend import Backend, ModelDetail, Reason
from meshlight.domain.health import Health
from meshlight.domain.rules import Routing

Light = Literal["green", "amber", "red", "grey"]


class Node(Struct, frozen=True, kw_only=True):
    """One backend with its live state."""

    backend: Backend
    health: Health = field(default_factory=Health)
    models: tuple[str, ...] = ()
    names: Mapping[str, str] = field(default_factory=dict)
    """Further names that requests may use as `backend/NAME`, and the model id of each ("" while unknown)."""
    places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The services behind it, by model or further name; a model without an entry is served by the backend itself."""
    parts: Mapping[str, Health] = field(default_factory=dict)
    """The health of single services and models of it; the others have the health of the backend."""
    details: Mapping[str, ModelDetail] = field(default_factory=dict)
    """What the backend reports of its models, by id."""
    details_at: float = 0.0
    """When that was read, by the registry's clock."""
    about: Mapping[str, str] = field(default_factory=dict)
    """Labelled lines about the backend, for people."""
    warnings: tuple[str, ...] = ()
    """What should be looked at though it works."""
    unusable: Mapping[str, Reason] = field(default_factory=dict)
    """Models and further names that exist there and can't be used now, and why."""
    degraded: str = ""
    """Why it can serve nothing though it answers; empty when it can."""
    slow: str = ""
    """Which model of it is slower than usual, and since when; empty when none is."""

    can_load: bool = False
    """Whether it can be asked to load and unload models."""

    def serves(self, name: str) -> bool:
        """Whether a request may use this name here: a model's id, or another name of a route."""
        return name in self.models or name in self.names


class Snapshot(Struct, frozen=True, kw_only=True):
    """The whole mesh; `routes` lists, for each model id, the ids of the backends that serve it."""

    nodes: Mapping[str, Node] = field(default_factory=dict)
    routes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    routing: Routing = field(default_factory=Routing)
    uses: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The models (globs) that are used from a peer, by node id, for the peers with such a list."""


def index(nodes: Mapping[str, Node]) -> dict[str, tuple[str, ...]]:
    """Return the routes of the enabled backends: model id → backend ids, both in their first order."""
    routes: dict[str, tuple[str, ...]] = {}
    for node in nodes.values():
        if node.backend.enabled:
            for model in node.models:
                routes[model] = (*routes.get(model, ()), node.backend.id)
    return routes


def light(nodes: Mapping[str, Node], suffering: str = "") -> tuple[Light, str]:
    """Return the colour of the whole mesh, and the reason as text.

    First match wins: red when every enabled backend is unhealthy, amber when some enabled backend is
    unhealthy, warming, degraded or slow, green when all enabled ones are healthy, grey otherwise (nothing
    enabled, or not yet known). Where it would be green, it is amber while requests suffer: `suffering` says why.
    """
    enabled = [node for node in nodes.values() if node.backend.enabled]
    if not enabled:
        return (
            "grey",
            "No backend is enabled."
            if nodes
            else "No backend yet: that is a server or account that answers.",
        )
    down = [node for node in enabled if node.health.state == "unhealthy"]
    warming = [node for node in enabled if node.health.state == "warming"]
    if down:
        first = down[0]
        reason = f"{len(down)} of {len(enabled)} down: {first.backend.name}: {first.health.reason.text}"
        return ("red" if len(down) == len(enabled) else "amber"), reason
    if warming:
        first = warming[0]
        return "amber", f"{len(warming)} of {len(enabled)} warming up: {first.backend.name}"
    degraded = [node for node in enabled if node.health.state == "healthy" and node.degraded]
    if degraded:
        first = degraded[0]
        return (
            "amber",
            f"{len(degraded)} of {len(enabled)} can serve nothing: {first.backend.name}: {first.degraded}",
        )
    slow = next((node for node in enabled if node.health.state == "healthy" and node.slow), None)
    if slow is not None:
        return "amber", f"{slow.backend.name}: {slow.slow}"
    if all(node.health.state == "healthy" for node in enabled):
        if suffering:
            return "amber", suffering
        count = len(enabled)
        return "green", "The backend is healthy." if count == 1 else f"All {count} backends are healthy."
    return "grey", "Checking the backends."
