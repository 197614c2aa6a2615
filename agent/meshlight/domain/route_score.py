"""One route to a model, as it was ranked."""

from typing import Any, Final, Literal

from meshlight.domain.choice import RouteFacts

Tier = Literal["ready", "untried", "last-resort", "excluded"]
_FIELDS: Final = ("backend", "model", "tier", "why", "place", "facts", "fallback")


class RouteScore:
    """The tier of one route (a backend, a place behind it, a model), and why. It never changes."""

    __slots__ = _FIELDS

    def __init__(
        self,
        *,
        backend: str,
        model: str,
        tier: Tier,
        why: str,
        place: str = "",
        facts: RouteFacts | None = None,
        fallback: str = "",
    ) -> None:
        self.backend = backend
        self.model = model
        self.tier: Tier = tier
        self.why = why
        self.place = place
        """The service behind the backend; empty for the backend itself."""
        self.facts = RouteFacts() if facts is None else facts
        """What is known of it, beside its health."""
        self.fallback = fallback
        """Why this model answers instead of the one that was requested; empty where it is that one."""

    def changed(self, **fields: Any) -> "RouteScore":
        """Return the same with other values of some fields."""
        return RouteScore(**{name: getattr(self, name) for name in _FIELDS} | fields)
