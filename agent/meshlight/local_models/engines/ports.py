"""A free port of loopback, for an engine."""

import socket

from meshlight.domain.config import HOST


def free_port() -> int:
    """Return a port that nobody listens on at this moment, from the system's range for short-lived ones."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
