"""Which models leave the memory so that another one fits: pure rules, checked before anything is stopped."""

from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

LOAD_MIN_S = 0.1
"""The shortest load that counts, so that the order does not hang on noise."""


class Held(Struct, frozen=True, kw_only=True):
    """A model that takes memory now."""

    model: str
    need_bytes: int
    idle_s: float | None
    """Since its last request ended; None while it is busy or loading."""
    load_s: float = LOAD_MIN_S
    """What loading it again would take."""
    is_kept: bool = False
    """Whether it stays until somebody unloads it."""
    is_leaving: bool = False
    """Whether its engine is being stopped."""

    @property
    def may_leave(self) -> bool:
        """Whether it may be evicted now."""
        return self.idle_s is not None and not self.is_kept and not self.is_leaving


class Room(Struct, frozen=True, kw_only=True):
    """What models may take in all."""

    budget_bytes: int
    max_loaded: int


class Offer(Struct, frozen=True, kw_only=True):
    """A context that a model may get, and the memory that it then needs."""

    context: int
    need_bytes: int


Step = Literal["start", "evict", "wait-leaving", "wait-busy", "refuse"]


class Plan(Struct, frozen=True, kw_only=True):
    """What is to be done for a model that is to be loaded.

    `start` it now, `evict` some first, wait for those that are leaving or for busy ones, or `refuse`: it would not
    fit even if all that may ever leave had left.
    """

    step: Step
    offer: Offer
    victims: tuple[str, ...] = ()


def victims(held: Sequence[Held], short_bytes: int, short_places: int = 0) -> tuple[str, ...] | None:
    """Return the models to evict so that so many bytes and places become free; None if they can't.

    First those whose idle time is the largest multiple of what loading them again costs, then those that have been
    idle longest; nobody whose leaving would not be needed.
    """
    bytes_left, places_left = short_bytes, short_places
    chosen: list[Held] = []
    for one in sorted(filter(lambda one: one.may_leave, held), key=_worth):
        if bytes_left <= 0 and places_left <= 0:
            break
        chosen.append(one)
        bytes_left -= one.need_bytes
        places_left -= 1
    if bytes_left > 0 or places_left > 0:
        return None
    for one in reversed(tuple(chosen)):  # the one that is worth most is spared first
        if bytes_left + one.need_bytes <= 0 and places_left + 1 <= 0:
            chosen.remove(one)
            bytes_left += one.need_bytes
            places_left += 1
    return tuple(one.model for one in chosen)


def _worth(one: Held) -> tuple[float, float, str]:
    idle_s = one.idle_s or 0.0
    return -idle_s / max(one.load_s, LOAD_MIN_S), -idle_s, one.model


def plan(
    offers: Sequence[Offer], held: Sequence[Held], room: Room, *, may_evict: bool, spared_bytes: int = 0
) -> Plan:
    """Return what to do for a model, given the contexts that it may get, the most wanted first.

    The largest context that fits beside what is loaded is taken; `spared_bytes` (of kept models that are not loaded
    now) are left free for all but the last offer. If something has to leave, then as few models as possible.
    """
    last = offers[-1]
    leaving_bytes = sum(one.need_bytes for one in held if one.is_leaving)
    leaving = sum(one.is_leaving for one in held)
    free_bytes = room.budget_bytes - sum(one.need_bytes for one in held)
    free_places = room.max_loaded - len(held)
    if free_places + leaving > 0:
        for offer in offers:
            spared = spared_bytes if offer is not last else 0
            if offer.need_bytes <= free_bytes + leaving_bytes - spared:
                fits_now = offer.need_bytes <= free_bytes - spared and free_places > 0
                return Plan(step="start" if fits_now else "wait-leaving", offer=offer)
    if may_evict:
        found = _least(offers, held, free_bytes + leaving_bytes, free_places + leaving)
        if found is not None:
            return found
        staying = [one for one in held if one.is_kept and not one.is_leaving]
        in_the_end = room.budget_bytes - sum(one.need_bytes for one in staying)
        if last.need_bytes <= in_the_end and len(staying) < room.max_loaded:
            return Plan(step="wait-busy", offer=last)
    return Plan(step="refuse", offer=last)


def _least(offers: Sequence[Offer], held: Sequence[Held], free_bytes: int, free_places: int) -> Plan | None:
    """Return the plan that evicts the fewest models, with the largest context that these make room for."""
    best: Plan | None = None
    for offer in reversed(offers):
        found = victims(held, offer.need_bytes - free_bytes, 1 - free_places)
        if found is None or (best is not None and len(found) > len(best.victims)):
            break
        best = Plan(step="evict", offer=offer, victims=found)
    return best


def could_leave_bytes(held: Sequence[Held]) -> int:
    """Return what can become free at once: what may leave now, or is leaving."""
    return sum(one.need_bytes for one in held if one.may_leave or one.is_leaving)
