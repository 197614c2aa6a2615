"""How the health of a backend follows from probes and traffic: `observe(old, fact, now) -> new`.

The first result decides; after that two good probes make a backend healthy and two bad ones (three over a network)
make it unhealthy, so that a single lost packet changes nothing. All times are seconds of one monotonic clock.
"""

from functools import lru_cache
from typing import Literal, assert_never

from msgspec import Struct
from msgspec.structs import replace

from meshlight.domain.backend import NOT_CHECKED, OK, Reason, Ring
from meshlight.domain.median import median

State = Literal["healthy", "warming", "unhealthy", "unknown"]

GOOD_TO_RISE = 2
BAD_TO_FALL = 2
BAD_TO_FALL_REMOTE = 3
FAILURES_TO_EJECT = 3
EJECT_S = 30.0
EJECT_MAX_S = 300.0
WARMING_MAX_S = 300.0
PERIOD_S = 5.0
CHANGING_S = 1.0
CLOUD_PERIOD_S = 60.0
UNAUTHORIZED_PERIOD_S = 60.0
BACKOFF_MAX_S = 60.0
RATE_LIMIT_DEFAULT_S = 60.0
LATENCIES_KEPT = 5
LATENCIES_REMEMBERED = 1_024
"""Backends whose median latency is remembered."""


class Answered(Struct, frozen=True):
    """A probe succeeded; `latency_s` is None when the connection was a new one."""

    latency_s: float | None = None


class Loading(Struct, frozen=True):
    """The backend reports that it is loading a model."""

    reason: Reason


class Failed(Struct, frozen=True):
    """A probe failed."""

    reason: Reason


class Refused(Struct, frozen=True):
    """The backend refuses us: wrong key or no permission. One result is enough."""

    reason: Reason


class Limited(Struct, frozen=True):
    """The backend limits our rate."""

    reason: Reason
    retry_after_s: float | None = None


class Served(Struct, frozen=True):
    """A request succeeded."""


class Unreached(Struct, frozen=True):
    """A request could not connect: one is enough to use other routes."""

    reason: Reason


class Broke(Struct, frozen=True):
    """A request got a 5xx or lost its connection."""

    reason: Reason


ProbeFact = Answered | Loading | Failed | Refused | Limited
TrafficFact = Served | Unreached | Broke | Limited | Refused
Fact = ProbeFact | TrafficFact


class Health(Struct, frozen=True, kw_only=True):
    """The state of one backend, and the counters by which it changes."""

    state: State = "unknown"
    reason: Reason = NOT_CHECKED
    since: float = 0.0
    good: int = 0
    """Good probes in a row while not healthy."""
    bad: int = 0
    """Bad probes in a row."""
    failures: int = 0
    """Failed requests in a row."""
    ejections: int = 0
    held_until: float = 0.0
    """Until then no good probe makes it healthy: ejected by traffic, or rate-limited."""
    latencies: tuple[float, ...] = ()

    @property
    def latency_s(self) -> float | None:
        """Median of the last warm probes, in seconds."""
        return _median(self.latencies) if self.latencies else None

    @property
    def is_spotless(self) -> bool:
        """Whether it is healthy without any recent failure."""
        return self.state == "healthy" and not (self.bad or self.failures or self.ejections)

    @property
    def is_changing(self) -> bool:
        """Whether one more probe may change the state."""
        return (self.state == "healthy" and self.bad > 0) or (self.state == "unhealthy" and self.good > 0)


def observe_part(old: Health, fact: Fact, now: float, ring: Ring) -> Health:
    """Return the health of a part of a backend (a service behind it, a model) after one more fact.

    Parts are checked less often than backends: one good check or response is enough to use it again.
    """
    match fact:
        case Answered() | Served() if now >= old.held_until:
            is_well = old.state == "healthy" and isinstance(fact, Answered)
            # A good model list says nothing about failing requests.
            return replace(old, bad=0) if is_well else Health(state="healthy", reason=OK, since=now)
        case Answered() | Served():
            return old
        case Failed():
            return observe(old, fact, now, "machine")  # checks are rare: two bad ones are enough
        case _:
            return observe(old, fact, now, ring)


def observe(old: Health, fact: Fact, now: float, ring: Ring) -> Health:
    """Return the health after one more fact."""
    match fact:
        case Answered(latency_s):
            return _answered(old, latency_s, now)
        case Loading(reason):
            return _loading(old, reason, now)
        case Failed(reason):
            return _failed(old, reason, now, ring)
        case Refused(reason):
            return _become(old, "unhealthy", reason, now, good=0, bad=old.bad + 1)
        case Limited(reason, retry_after_s):
            wait = RATE_LIMIT_DEFAULT_S if retry_after_s is None else retry_after_s
            return _become(old, "unhealthy", reason, now, good=0, held_until=now + wait)
        case Served():
            return _served(old, now)
        case Unreached(reason):
            return _become(old, "unhealthy", reason, now, good=0, bad=max(old.bad, 1), failures=0)
        case Broke(reason):
            return _broke(old, reason, now)
        case _:
            assert_never(fact)


def probe_delay_s(health: Health, ring: Ring, now: float) -> float:
    """Return the seconds until the next probe (before the prober's jitter)."""
    if health.reason.code == "rate-limited":
        return max(health.held_until - now, CHANGING_S)
    if health.is_changing or health.state == "warming":
        return CHANGING_S
    if health.reason.code in {"unauthorized", "forbidden"}:
        return UNAUTHORIZED_PERIOD_S
    if ring == "cloud":
        return CLOUD_PERIOD_S
    if health.state == "unhealthy" and ring == "company":
        return float(min(PERIOD_S * 2 ** min(max(health.bad - BAD_TO_FALL_REMOTE, 0), 6), BACKOFF_MAX_S))
    return PERIOD_S


def _become(old: Health, state: State, reason: Reason, now: float, **counters: float) -> Health:
    since = old.since if old.state == state else now
    return replace(old, state=state, reason=reason, since=since, **counters)


_median = lru_cache(LATENCIES_REMEMBERED)(median)
"""The same for all who ask for it until the next probe."""


def _answered(old: Health, latency_s: float | None, now: float) -> Health:
    if latency_s is not None:
        old = replace(old, latencies=(*old.latencies[-(LATENCIES_KEPT - 1) :], latency_s))
    if old.state == "healthy" and old.reason is OK and not (old.good or old.bad or old.held_until):
        return old  # nearly always
    if now < old.held_until:
        return replace(old, bad=0)
    if old.state == "unhealthy" and old.good + 1 < GOOD_TO_RISE:
        return replace(old, good=old.good + 1, bad=0)
    return _become(old, "healthy", OK, now, good=0, bad=0, held_until=0.0)


def _loading(old: Health, reason: Reason, now: float) -> Health:
    if (old.state == "warming" and now - old.since > WARMING_MAX_S) or old.reason.code == "loading-too-long":
        slow = Reason(
            "loading-too-long", f"Still loading after {WARMING_MAX_S:.0f} s.", "Look at the engine's log."
        )
        return _become(old, "unhealthy", slow, now, good=0, bad=0)
    return _become(old, "warming", reason, now, good=0, bad=0)


def _failed(old: Health, reason: Reason, now: float, ring: Ring) -> Health:
    limit = BAD_TO_FALL if ring == "machine" else BAD_TO_FALL_REMOTE
    bad = old.bad + 1
    if old.state == "healthy" and bad < limit:
        return replace(old, bad=bad)
    # Probes that fail by themselves also notice the recovery, so the pause for failed requests ends.
    held_until = 0.0 if old.ejections else old.held_until
    return _become(old, "unhealthy", reason, now, good=0, bad=bad, held_until=held_until)


def _served(old: Health, now: float) -> Health:
    if old.state == "unhealthy" and now >= old.held_until and old.good + 1 < GOOD_TO_RISE:
        return replace(old, good=old.good + 1, failures=0, bad=0)
    if old.failures or old.ejections:
        return replace(old, failures=0, ejections=0)
    return old


def _broke(old: Health, reason: Reason, now: float) -> Health:
    failures = old.failures + 1
    if failures < FAILURES_TO_EJECT:
        return replace(old, failures=failures)
    ejections = old.ejections + 1
    pause = min(EJECT_S * ejections, EJECT_MAX_S)
    failing = Reason(
        "failing-requests",
        f"{failures} requests in a row failed: {reason.text}",
        f"Requests go elsewhere for {pause:.0f} s. {reason.fix}".strip(),
    )
    return _become(
        old, "unhealthy", failing, now, good=0, failures=0, ejections=ejections, held_until=now + pause
    )
