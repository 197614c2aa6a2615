"""Which connections stay open when there are too many: those that have shown the key."""

from collections import OrderedDict
from typing import Final, Protocol

from meshlight.gateway.server.limits import Limits

CONNECTION: Final = "meshlight.connection"
"""The key in `scope["extensions"]` of the connection that a request came on."""


class Connection(Protocol):
    """What admission needs of a connection."""

    has_key: bool
    """Whether a request on it had the key, or the page's session."""

    def show_key(self) -> None:
        """Remember that a request on it had the key."""

    def evict(self) -> None:
        """Close at once, to make room."""


class ConnectionAdmission:
    """The connections that have not shown the key, those that are idle longest first.

    When the limit is reached, the first of them is closed. Idle time counts from the last complete answer, or else
    from the start of the connection: sending a byte now and then does not help. One with a running request is closed
    only when none is idle. A part of the limit is reserved for connections with the key (see `Limits.without_key`).
    Each step takes the same time, however many there are.
    """

    def __init__(self, limits: Limits) -> None:
        self._most, self._most_without_key = limits.connections, limits.without_key
        self._idle: OrderedDict[Connection, None] = OrderedDict()
        self._busy: OrderedDict[Connection, None] = OrderedDict()

    def admit(self, connection: Connection, open_connections: int) -> bool:
        """Accept a new connection, closing another one if needed; False when all have shown the key."""
        without_key = 0 if connection.has_key else len(self._idle) + len(self._busy)
        is_full = open_connections >= self._most or without_key >= self._most_without_key
        if is_full and not self._make_room():
            return False
        if not connection.has_key:
            self._idle[connection] = None
        return True

    def request_started(self, connection: Connection) -> None:
        """Count a connection without the key as busy: a request of it is being answered."""
        if connection in self._idle:
            del self._idle[connection]
            self._busy[connection] = None

    def request_ended(self, connection: Connection) -> None:
        """Count it as idle again."""
        if connection in self._busy:
            del self._busy[connection]
            self._idle[connection] = None

    def forget(self, connection: Connection) -> None:
        """Stop tracking a connection: it has shown the key, or is closed."""
        self._idle.pop(connection, None)
        self._busy.pop(connection, None)

    def _make_room(self) -> bool:
        candidates = self._idle or self._busy
        if not candidates:
            return False
        oldest, _ = candidates.popitem(last=False)
        oldest.evict()
        return True
