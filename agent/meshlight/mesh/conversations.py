"""Where each conversation was last: a preference for the choice of a route, kept in memory only, as hashes."""

from collections import OrderedDict
from typing import Final

from meshlight.domain.clock import Clock

KEPT_S: Final = 900.0
"""Seconds after which an engine's cache holds something else."""
KEPT_MAX: Final = 10_000


class Conversations:
    """The last places of the conversations of the last `kept_s` seconds; the oldest are dropped first."""

    def __init__(self, clock: Clock, kept_s: float = KEPT_S) -> None:
        self._clock = clock
        self._kept_s = kept_s
        self._homes: OrderedDict[bytes, tuple[str, str, float]] = OrderedDict()

    def home(self, conversation: bytes) -> tuple[str, str]:
        """Return the backend and place of a conversation; two empty texts if it is not known."""
        found = self._homes.get(conversation)
        if found is None or self._clock() - found[2] > self._kept_s:
            return "", ""
        return found[0], found[1]

    def record(self, conversation: bytes, backend: str, place: str) -> None:
        """Remember that a backend answered."""
        self._homes[conversation] = (backend, place, self._clock())
        self._homes.move_to_end(conversation)
        if len(self._homes) > KEPT_MAX:
            self._homes.popitem(last=False)

    def forget(self, backend: str) -> None:
        """Forget what was at a removed backend."""
        for conversation in [key for key, home in self._homes.items() if home[0] == backend]:
            del self._homes[conversation]

    def __len__(self) -> int:
        return len(self._homes)
