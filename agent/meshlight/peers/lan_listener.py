"""The port to the LAN listener, which the gateway implements (`gateway/lan/server.py`) and tests replace."""

import ssl
from collections.abc import Callable
from typing import Protocol


class LanListener(Protocol):
    """Accepts TLS connections of paired peers."""

    @property
    def port(self) -> int:
        """Where it listens now; 0 while it does not."""

    async def open(self, tls: ssl.SSLContext, who: Callable[[ssl.SSLObject], str | None], port: int) -> None:
        """Listen on `port`, unless it does already; ServiceError when the port can't be had.

        `who` returns the id of the peer behind a connection, or None when it is not paired.
        """

    async def close(self) -> None:
        """Stop listening, after running requests have ended."""

    def cut(self, peer: str) -> None:
        """Close every connection of a peer at once."""
