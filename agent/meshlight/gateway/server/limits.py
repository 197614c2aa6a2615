"""Limits of time and size for one connection, and of the number of connections."""

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """Times are seconds, sizes bytes."""

    header_s: float = 10.0
    """From the first byte of a head to its end; and from connecting to the first byte."""
    body_idle_s: float = 60.0
    """Between two pieces of an unfinished request body."""
    keep_alive_s: float = 75.0
    """Between two requests. Longer than the clients' own limits, so that they close, and no request is lost."""
    linger_s: float = 2.0
    """How long the rest of a refused request is read and dropped, so that the client can read the refusal."""
    drain_s: float = 10.0
    """How long running requests may go on when the service stops."""
    head_bytes: int = 65_536
    url_bytes: int = 16_384
    connections: int = 4096

    @property
    def without_key(self) -> int:
        """How many connections may be open that have not shown the key: the rest is reserved for those that have."""
        return self.connections - self.connections // 8


DEFAULT_LIMITS = Limits()
MOST_CONNECTIONS, FEWEST_CONNECTIONS = 16_384, 64
OWN_FILES = 256
"""Files that the service has open beside its connections: sockets, databases, the log, event streams, probes."""


def limits_for(files: int) -> Limits:
    """Return the limits of a process that may have so many files open; a request takes a file on either side."""
    return Limits(connections=min(max((files - OWN_FILES) // 2, FEWEST_CONNECTIONS), MOST_CONNECTIONS))


PING_S = 15.0
"""Between two comments on a stream of events, which show that the connection is alive."""
END_S = 0.5
"""How long a reader of events may take to read the end of its stream."""
