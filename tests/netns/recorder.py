"""The TLS server of an unknown node on a machine of the tests' network; it records every byte that it is sent."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress
from tempfile import NamedTemporaryFile

from meshlight.peers.tls import pairing_client_context, pairing_server_context
from meshlight.storage.node_key import NodeIdentity, identity_of, new_key
from netns.namespaces import Machine
from servers.byte_server import ByteServer, Peer


def stranger() -> NodeIdentity:
    """Return the identity of an unknown node."""
    return identity_of(new_key())


def strangers_context(identity: NodeIdentity) -> ssl.SSLContext:
    """Return the TLS of a client that accepts any certificate and presents an unknown one."""
    context = pairing_client_context()
    password = b"of-no-worth"
    with NamedTemporaryFile() as file:
        file.write(identity.encrypted_key(password) + identity.certificate_pem)
        file.flush()
        context.load_cert_chain(file.name, password=password)
    return context


class Recorder(ByteServer):
    """`async with Recorder(machine, 6375) as recorder:` completes handshakes with an unknown key."""

    def __init__(self, machine: Machine, port: int) -> None:
        listener = machine.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("0.0.0.0", port))
        super().__init__(self._record, listener=listener)
        self._context = pairing_server_context(stranger())
        self._changed = asyncio.Event()
        self.connections = 0
        """How many handshakes were tried."""
        self.received = b""
        """What it was sent after a handshake had succeeded."""

    async def met(self, count: int, within_s: float) -> None:
        """Wait until so many handshakes were tried in all."""
        async with asyncio.timeout(within_s):
            while self.connections < count:
                self._changed.clear()
                await self._changed.wait()

    async def _record(self, peer: Peer) -> None:
        with suppress(OSError):
            try:
                await peer.writer.start_tls(self._context)
            finally:
                self.connections += 1
                self._changed.set()
            while piece := await peer.reader.read(65_536):
                self.received += piece
