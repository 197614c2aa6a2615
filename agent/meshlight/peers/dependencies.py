"""What the neighbourhood needs of others: a place to write down who is paired, and a listener for the peers."""

import ssl
from collections.abc import Callable
from typing import Protocol

from meshlight.domain.backend import Backend
from meshlight.domain.config import Config


class LanListener(Protocol):
    """The LAN listener, which the gateway serves."""

    @property
    def port(self) -> int:
        """Where it listens now; 0 while it does not."""

    async def open(self, tls: ssl.SSLContext, who: Callable[[ssl.SSLObject], str | None], port: int) -> None:
        """Listen from now on, if it does not already; ServiceError when the port can't be had."""

    async def close(self) -> None:
        """Listen no more."""

    def cut(self, peer: str) -> None:
        """Close every connection of a peer."""


class PeerStore(Protocol):
    """Where it is written down who is paired."""

    @property
    def config(self) -> Config:
        """The configuration in force."""

    @property
    def name(self) -> str:
        """How this node calls itself."""

    async def change(self, wanted: Callable[[Config], Config]) -> None:
        """Write changed settings down and follow them."""

    async def put_backend(self, backend: Backend) -> None:
        """Write a backend down."""

    async def remove_backend(self, backend_id: str) -> None:
        """Strike a backend out."""

    def notice(self, topic: str, text: str) -> None:
        """Show a sentence to the user from now on; an empty one takes it back."""
