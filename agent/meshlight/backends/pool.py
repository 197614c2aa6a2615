"""The connections to one backend: which are open, and which rest and may be used again."""

from collections import deque

from meshlight.backends.connection import Connection


class Pool:
    """Keep-alive for one backend: last in, first out, and never a connection that rested too long.

    Servers close resting connections after a time of their own (llama.cpp after 5 s); expiring them well
    before that keeps the race rare in which a request meets a closing connection.
    """

    __slots__ = ("_crowding", "_expiry_s", "_is_closed", "_resting", "open")

    def __init__(self, expiry_s: float) -> None:
        self.open = 0
        """How many connections are open, resting or not."""
        self._expiry_s = expiry_s
        self._crowding: set[Connection] = set()
        """New connections whose first answer is late."""
        self._is_closed = False
        self._resting: deque[Connection] = deque()  # oldest first

    @property
    def resting(self) -> int:
        """How many connections rest."""
        return len(self._resting)

    def take(self, now: float) -> Connection | None:
        """Take the connection that rested least, if one is fit to serve; `now` is `time.monotonic()`."""
        resting = self._resting
        while resting:
            connection = resting.pop()
            if now - connection.idle_since > self._expiry_s:
                resting.append(connection)
                self._drop_all()  # the others rested even longer
            elif connection.is_usable:
                return connection
        return None

    def close(self) -> None:
        """Close what rests now, and the others as their exchanges end."""
        self._is_closed = True
        self._drop_all()

    def crowd(self, connection: Connection) -> None:
        """Let nothing rest until `ease`: the connection may wait for a place that a resting one holds."""
        self._crowding.add(connection)
        self._drop_all()

    def ease(self, connection: Connection) -> None:
        """The connection's first answer has come, or is not waited for any more."""
        self._crowding.discard(connection)

    def opened(self, connection: Connection) -> None:  # noqa: ARG002  # the Keeper's words
        """Count a connection."""
        self.open += 1

    def rested(self, connection: Connection) -> None:
        """Keep a connection for the next request."""
        if self._is_closed or self._crowding:
            connection.close()
            return
        resting = self._resting
        if resting and connection.idle_since - resting[0].idle_since > self._expiry_s:
            resting.popleft().close()  # after a burst the bottom of the pile would lie there for ever
        resting.append(connection)

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self.open -= 1
        if connection in self._resting:
            self._resting.remove(connection)

    def _drop_all(self) -> None:
        while self._resting:
            self._resting.pop().close()
