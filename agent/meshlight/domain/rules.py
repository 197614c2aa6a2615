"""The routing settings of the user: the policy, the aliases, and rules for models."""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import replace

from meshlight.domain.backend import RING_ORDER, Backend, ModelDetail, Ring
from meshlight.domain.model_names import LATEST, is_same, other_tag

Policy = Literal["local-first", "priority", "round-robin", "least-busy", "fastest"]


class Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rule for the models whose id matches `model` (a glob such as `llama-*`); the first match applies."""

    model: str
    pin: tuple[str, ...] = ()
    """Only these backends (id or name)."""
    prefer: tuple[str, ...] = ()
    """These backends first, in this order."""
    also: tuple[str, ...] = ()
    """Found engines and peers (id or name, `*` for all) that are used too where an own backend has the model."""
    bound: Ring | None = None
    """Requests never go beyond this ring."""
    spill: Ring = "company"
    """How far a request may go when nearer routes are down. A cloud costs money and gets the prompt, so it replaces
    a nearer route only where a rule says `spill = "cloud"`."""
    fallback: tuple[str, ...] = ()
    """Other models that answer, in this order, while no route of the model is usable."""

    def is_beyond_bound(self, ring: Ring) -> bool:
        """Whether `ring` is beyond this rule's bound."""
        return self.bound is not None and RING_ORDER[ring] > RING_ORDER[self.bound]

    def excludes(self, backend: Backend) -> bool:
        """Whether this rule excludes a backend."""
        pinned_out = bool(self.pin) and backend.id not in self.pin and backend.name not in self.pin
        return pinned_out or self.is_beyond_bound(backend.ring)

    def allows(self, backend: Backend) -> bool:
        """Whether this rule names a found engine or a peer. `pin` and `prefer` count by id: a peer chose its name."""
        return backend.id in (*self.pin, *self.prefer) or not {backend.id, backend.name, "*"}.isdisjoint(
            self.also
        )


class Routing(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All routing settings."""

    policy: Policy = "local-first"
    aliases: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)
    """Alias → the model (or `backend/model`) that it stands for, or several, of which the first usable one answers;
    an alias of an alias is not resolved. An alias may be a pattern such as `claude-*`, for names that nothing else
    stands for."""
    rules: tuple[Rule, ...] = ()
    bound: Ring | None = None
    """No prompt goes beyond this ring, whatever the rules say; None for no such limit."""
    queue: bool = True
    """Whether a request waits here while every slot for its model is busy; else the engines queue it themselves."""
    queue_s: Annotated[float, Meta(gt=0, le=86_400)] | None = None
    """Seconds that it may wait; None for as long as the backend may take to its first byte."""

    def wishes(self, name: str) -> tuple[str, ...]:
        """Return what an alias of exactly this name stands for; nothing if there is none."""
        found = self.aliases.get(name, ())
        return (found,) if isinstance(found, str) else found

    def pattern_wishes(self, name: str) -> tuple[str, ...]:
        """Return what the first alias stands for whose pattern matches a name; nothing if none does."""
        for alias in self.aliases:
            if is_pattern(alias) and fnmatchcase(name, alias):
                return self.wishes(alias)
        return ()

    def rule(self, model: str) -> Rule:
        """Return the first rule that matches `model`, or the default rule; never one that goes beyond `bound`."""
        found = next((rule for rule in self.rules if _matches(rule.model, model)), _DEFAULT_RULE)
        if self.bound is None or (
            found.bound is not None and RING_ORDER[found.bound] <= RING_ORDER[self.bound]
        ):
            return found
        return replace(found, bound=self.bound)

    def is_beyond_bound(self, backend: Backend, detail: ModelDetail | None) -> bool:
        """Whether a prompt for a model of this backend could travel beyond `bound`.

        An account counts by its real ring, and a model of a peer by the farthest place there that serves it.
        """
        if self.bound is None:
            return False
        farthest = (
            backend.reach
            if detail is None
            else max(backend.reach, detail.ring or backend.reach, key=lambda ring: RING_ORDER[ring])
        )
        return RING_ORDER[farthest] > RING_ORDER[self.bound]


def is_pattern(alias: str) -> bool:
    """Whether an alias matches more names than its own."""
    return any(mark in alias for mark in "*?[")


_DEFAULT_RULE = Rule(model="*")


def _matches(pattern: str, model: str) -> bool:
    """Whether a rule's pattern matches a model, with or without the tag `:latest` on either side."""
    return (
        fnmatchcase(model, pattern)
        or is_same(pattern, model)
        or (model.endswith(LATEST) and fnmatchcase(other_tag(model), pattern))
    )
