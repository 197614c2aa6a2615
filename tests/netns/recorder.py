"""The TLS server of an unknown node on a machine of the tests' network; it records every byte that it is sent."""

from __future__ import annotations

import asyncio
import socket
import ssl
from tempfile import NamedTemporaryFile
from types import TracebackType
from typing import Self

from meshlight.peers.tls import pairing_client_context, pairing_server_context
from meshlight.storage.node_key import NodeIdentity, identity_of, new_key
from netns.namespaces import Machine


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


class Recorder:
    """`async with Recorder(machine, 6375) as recorder:` completes handshakes with an unknown key."""

    def __init__(self, machine: Machine, port: int) -> None:
        self._machine = machine
        self._port = port
        self._listening: asyncio.Task[None]
        self._calls: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self.connections = 0
        self.received = b""
        """What it was sent after a handshake had succeeded."""

    async def __aenter__(self) -> Self:
        self._socket = self._machine.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(("0.0.0.0", self._port))
        self._socket.listen()
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = (self._listening, *self._calls)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._socket.close()

    async def met(self, count: int, within_s: float) -> None:
        """Wait until so many handshakes were tried in all."""
        async with asyncio.timeout(within_s):
            while self.connections < count:
                self._news.clear()
                await self._news.wait()

    async def _listen(self) -> None:
        context = pairing_server_context(stranger())
        while True:
            connection, _ = await asyncio.get_running_loop().sock_accept(self._socket)
            task = asyncio.create_task(self._hear(connection, context))
            self._calls.add(task)
            task.add_done_callback(self._calls.discard)

    async def _hear(self, connection: socket.socket, context: ssl.SSLContext) -> None:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=context)
        except OSError:
            return
        finally:
            self.connections += 1
            self._news.set()
        try:
            while piece := await reader.read(65_536):
                self.received += piece
        except OSError:
            pass
        finally:
            transport.abort()
