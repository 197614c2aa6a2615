"""Which connections keep their places when all are taken: those that have shown the key."""

from collections import OrderedDict
from typing import Protocol

from meshlight.gateway.server.limits import Limits

CONNECTION = "meshlight.connection"
"""The key in `scope["extensions"]` under which a request finds the connection that it came on."""


class Connection(Protocol):
    """What is known and asked of a connection here."""

    has_key: bool
    """Whether a request on it has brought the key, or the page's session."""

    def show_key(self) -> None:
        """Know from now on that it has."""

    def evict(self) -> None:
        """End at once, to make room."""


class ConnectionAdmission:
    """The connections that have not shown the key, those that rest longest first.

    When all places are taken the first of them goes. What counts is the last whole answer, or else the beginning:
    whoever sends a byte now and then rests all the same. One with a request under way goes only when nobody rests.
    A part of the places is never theirs (see `Limits.strangers`). Each step takes the same time, however many
    there are.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._resting: OrderedDict[Connection, None] = OrderedDict()
        self._working: OrderedDict[Connection, None] = OrderedDict()

    def admit(self, connection: Connection, places_taken: int) -> bool:
        """Give a new connection its place, another's perhaps; False when all have shown the key."""
        strangers = 0 if connection.has_key else len(self._resting) + len(self._working)
        is_full = places_taken >= self._limits.connections or strangers >= self._limits.strangers
        if is_full and not self._make_room():
            return False
        if not connection.has_key:
            self._resting[connection] = None
        return True

    def works(self, connection: Connection) -> None:
        """Know that a request of one without the key is being answered."""
        if connection in self._resting:
            del self._resting[connection]
            self._working[connection] = None

    def rests(self, connection: Connection) -> None:
        """Know that it is answered."""
        if connection in self._working:
            del self._working[connection]
            self._resting[connection] = None

    def forget(self, connection: Connection) -> None:
        """Leave a connection alone: it has shown the key, or is gone."""
        self._resting.pop(connection, None)
        self._working.pop(connection, None)

    def _make_room(self) -> bool:
        line = self._resting or self._working
        if not line:
            return False
        longest, _ = line.popitem(last=False)
        longest.evict()
        return True
