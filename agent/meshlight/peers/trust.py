"""This node's key, the certificates of its peers, and the TLS contexts that follow from both."""

import asyncio
import ssl
from collections.abc import Iterable
from typing import Protocol

from meshlight.domain.errors import ConnectError
from meshlight.peers.tls import PrivateIdentity, ServerTls, client_context


class IdentityStore(Protocol):
    """Where this node's key is saved."""

    async def find(self) -> PrivateIdentity | None:
        """Return the identity if there is one; SecretError when that can't be found out."""

    async def open(self) -> PrivateIdentity:
        """Return the identity, made now if there is none; SecretError when it can't be saved."""


class CertificateStore(Protocol):
    """Where the certificates of the peers are saved; each method blocks for a moment."""

    def put(self, node_id: str, pem: bytes) -> None:
        """Save one."""

    def remove(self, node_id: str) -> bool:
        """Delete one; returns whether it was there."""

    def all(self) -> dict[str, bytes]:
        """Return all, by node id."""


class Trust:
    """Who this node is, and which peers it trusts."""

    def __init__(self, identities: IdentityStore, certificates: CertificateStore) -> None:
        self._identities = identities
        self._certificates = certificates
        self._pinned: dict[str, bytes] = {}
        self._new: set[str] = set()
        """Peers whose certificates were saved and are not pinned yet."""
        self._server: ServerTls | None = None
        self._clients: dict[str, ssl.SSLContext] = {}
        self._has_pinned = False
        self.identity: PrivateIdentity | None = None
        """Who this node is; None until it was read, and while there is no key."""

    @property
    def node_id(self) -> str:
        """This node's id; empty while it has no key."""
        return "" if self.identity is None else self.identity.node_id

    def is_new(self, node_id: str) -> bool:
        """Whether a peer's certificate was saved and is not pinned yet, so that it can't be reached."""
        return node_id in self._new

    async def find(self) -> PrivateIdentity | None:
        """Return this node's identity if there is one; SecretError when that can't be found out."""
        self.identity = self.identity or await self._identities.find()
        return self.identity

    async def open(self) -> PrivateIdentity:
        """Return this node's identity, made now if there is none; SecretError when it can't be saved."""
        self.identity = self.identity or await self._identities.open()
        return self.identity

    async def save(self, node_id: str, pem: bytes) -> None:
        """Save a peer's certificate; it counts once `pin` names the peer."""
        await asyncio.to_thread(self._certificates.put, node_id, pem)
        self._new.add(node_id)

    async def remove(self, node_id: str) -> None:
        """Delete a peer's certificate."""
        await asyncio.to_thread(self._certificates.remove, node_id)
        self._new.discard(node_id)

    async def pin(self, node_ids: Iterable[str]) -> set[str]:
        """Trust exactly these peers from now on, as far as their certificates are saved.

        Returns those of them that were new; see `is_new`.
        """
        saved = await asyncio.to_thread(self._certificates.all)
        self._pinned = {node_id: saved[node_id] for node_id in node_ids if node_id in saved}
        new = self._new & self._pinned.keys()
        self._new -= new
        self._clients.clear()
        self._has_pinned = True
        if self._server is not None:
            self._server.pin(self._pinned.values())
        return new

    def server(self, identity: PrivateIdentity) -> ServerTls:
        """Return the TLS of the listener; it follows what is pinned."""
        if self._server is None:
            self._server = ServerTls(identity, self._pinned.values())
        return self._server

    def client(self, node_id: str) -> ssl.SSLContext:
        """Return the TLS context for requests to a peer; ConnectError when there is none."""
        pinned = self._pinned.get(node_id)
        if not self._has_pinned:
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
