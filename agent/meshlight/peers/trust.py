"""This node's key, the certificates of its peers, and the TLS contexts that follow from both."""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Protocol

from meshlight.domain.errors import ConnectError
from meshlight.peers.tls import PrivateIdentity, ServerTls, client_context


class IdentityStore(Protocol):
    """Where this node's key comes from."""

    async def find(self) -> PrivateIdentity | None:
        """Return the identity if there is one; SecretError when that can't be found out."""

    async def open(self) -> PrivateIdentity:
        """Return the identity, made now if there is none; SecretError when it can't be kept."""


class CertificateStore(Protocol):
    """Where the certificates of the peers are; each method blocks for a moment."""

    def put(self, node_id: str, pem: bytes) -> None:
        """Keep one."""

    def remove(self, node_id: str) -> bool:
        """Forget one."""

    def all(self) -> dict[str, bytes]:
        """Return all, by node id."""


class Trust:
    """Knows who this node is, and whom it believes."""

    def __init__(self, keys: IdentityStore, pins: CertificateStore) -> None:
        self._keys = keys
        self._pins = pins
        self._pinned: dict[str, bytes] = {}
        self._server: ServerTls | None = None
        self._clients: dict[str, ssl.SSLContext] = {}
        self._has_read = False
        self.identity: PrivateIdentity | None = None
        """Who this node is; None until it was asked for, or where there is no key yet."""

    @property
    def node_id(self) -> str:
        """This node's id; empty while it has no key."""
        return "" if self.identity is None else self.identity.node_id

    async def find(self) -> PrivateIdentity | None:
        """Return the key if there is one; SecretError when that can't be found out."""
        self.identity = self.identity or await self._keys.find()
        return self.identity

    async def open(self) -> PrivateIdentity:
        """Return the key, made now if there is none; SecretError when it can't be kept."""
        self.identity = self.identity or await self._keys.open()
        return self.identity

    async def keep(self, node_id: str, pem: bytes) -> None:
        """Pin a peer's certificate."""
        await asyncio.to_thread(self._pins.put, node_id, pem)

    async def drop(self, node_id: str) -> None:
        """Forget a peer's certificate."""
        await asyncio.to_thread(self._pins.remove, node_id)

    async def believe(self, node_ids: Iterable[str]) -> None:
        """Take exactly these peers from now on, as far as their certificates are there."""
        kept = await asyncio.to_thread(self._pins.all)
        self._pinned = {node_id: kept[node_id] for node_id in node_ids if node_id in kept}
        self._clients.clear()
        self._has_read = True
        if self._server is not None:
            self._server.pin(self._pinned.values())

    def server(self, identity: PrivateIdentity) -> ServerTls:
        """Return the TLS of the listener; it follows what is believed."""
        if self._server is None:
            self._server = ServerTls(identity, self._pinned.values())
        return self._server

    def client(self, node_id: str) -> ssl.SSLContext:
        """Return the TLS for asking a peer; ConnectFailed when this node can't."""
        pinned = self._pinned.get(node_id)
        if not self._has_read:
            raise ConnectError("unreachable", "The key of this machine is still being read.")
        if self.identity is None or pinned is None:
            raise ConnectError("tls", "This machine has no certificate of that peer: pair it anew.")
        found = self._clients.get(node_id)
        if found is None:
            try:
                found = self._clients[node_id] = client_context(self.identity, pinned)
            except ValueError as error:
                raise ConnectError("tls", f"The certificate of that peer can't be used: {error}") from None
        return found
