"""When a service that died is started again, and when that is given up."""

from msgspec import Struct


class Backoff(Struct, frozen=True, kw_only=True):
    """The rule: 1, 2, 4 … 30 s apart, from the start again after a minute of life; at most 5 deaths in 2 minutes."""

    first_s: float = 1.0
    longest_s: float = 30.0
    settled_s: float = 60.0
    """A service that lived so long was well: what killed it has nothing to do with earlier deaths."""
    deaths: int = 5
    within_s: float = 120.0


class Deaths(Struct, frozen=True):
    """The deaths that still count: `at` on a monotonic clock, and how many came in a row without a settled life."""

    at: tuple[float, ...] = ()
    in_a_row: int = 0


def died(old: Deaths, now: float, lived_s: float, rule: Backoff) -> Deaths:
    """Return the deaths after one more, of a service that lived `lived_s` seconds."""
    recent = tuple(at for at in old.at if now - at <= rule.within_s)
    return Deaths((*recent, now), 1 if lived_s >= rule.settled_s else old.in_a_row + 1)


def delay_s(deaths: Deaths, chance: float, rule: Backoff) -> float | None:
    """Return the seconds until the next start; None when it is given up.

    `chance` (0 to 1) spreads the starts: the delay is between a half and the whole of its step.
    """
    if len(deaths.at) >= rule.deaths:
        return None
    step: float = min(rule.first_s * 2 ** min(max(deaths.in_a_row - 1, 0), 16), rule.longest_s)
    return step * (0.5 + 0.5 * chance)
