"""How many retries a gateway may make before it adds to the trouble it sees."""

SHARE = 0.2
FLOOR = 3
WINDOW_S = 10.0
EXTRA_ATTEMPTS = 2


class RetryBudget:
    """At most a fifth of the requests of the last window may be retried, and never fewer than three.

    The first failover away from a backend that is not yet ejected is outside the budget (the relay does not
    ask for it), or a quiet gateway would refuse its fourth retry before it has learnt anything.
    Instants are seconds of a monotonic clock.
    """

    __slots__ = ("_earlier", "_requests", "_retries", "_start")

    def __init__(self) -> None:
        self._start = 0.0
        self._requests = 0
        self._retries = 0
        self._earlier = (0, 0)

    def note_request(self, now: float) -> None:
        """Count a request towards the share."""
        self._turn(now)
        self._requests += 1

    def take(self, now: float) -> bool:
        """Take one retry out of the budget; False when it is spent."""
        self._turn(now)
        requests = self._requests + self._earlier[0]
        retries = self._retries + self._earlier[1]
        if retries >= max(FLOOR, SHARE * requests):
            return False
        self._retries += 1
        return True

    def _turn(self, now: float) -> None:
        """Move on to a new half window; the last half still counts."""
        age = now - self._start
        if age < WINDOW_S / 2:
            return
        self._earlier = (self._requests, self._retries) if age < WINDOW_S else (0, 0)
        self._requests = self._retries = 0
        self._start = now
