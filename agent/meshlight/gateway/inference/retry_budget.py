"""How many requests may be sent to another route."""

from typing import Final

from meshlight.domain.route_score import Tier

BUDGET_SHARE: Final = 0.2
"""Retries per request."""
BUDGET_FLOOR: Final = 3
BUDGET_WINDOW_S: Final = 10.0


class RetryBudget:
    """At most a fifth of the requests of the last window may be retried, and never fewer than three.

    The first failover away from a healthy backend is free: otherwise a quiet gateway would refuse its fourth retry
    before it has recorded that the backend fails. Instants are seconds of a monotonic clock.
    """

    __slots__ = ("_earlier", "_requests", "_retries", "_start")

    def __init__(self) -> None:
        self._start = 0.0
        self._requests = 0
        self._retries = 0
        self._earlier = (0, 0)

    def record_request(self, now: float) -> None:
        """Count a request towards the share."""
        if now - self._start >= BUDGET_WINDOW_S / 2:
            self._advance(now)
        self._requests += 1

    def allows(self, failures: int, last_tier: Tier, now: float) -> bool:
        """Whether another route may be tried now; takes one retry from the budget unless the failover is free."""
        return (failures == 1 and last_tier == "ready") or self.take(now)

    def take(self, now: float) -> bool:
        """Take one retry from the budget; False when it is spent."""
        self._advance(now)
        requests = self._requests + self._earlier[0]
        retries = self._retries + self._earlier[1]
        if retries >= max(BUDGET_FLOOR, BUDGET_SHARE * requests):
            return False
        self._retries += 1
        return True

    def _advance(self, now: float) -> None:
        """Move on to a new half window; the last half still counts."""
        age = now - self._start
        if age < BUDGET_WINDOW_S / 2:
            return
        self._earlier = (self._requests, self._retries) if age < BUDGET_WINDOW_S else (0, 0)
        self._requests = self._retries = 0
        self._start = now
