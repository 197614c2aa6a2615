"""A whole node that is paired with one peer, and that peer at its LAN listener, byte by byte."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from meshlight.peers.tls import client_context
from meshlight.storage.node_identity import NodeIdentityStore
from meshlight.storage.paths import Paths
from meshlight.storage.peer_certificates import PeerCertificates
from meshlight.storage.secrets.store import Secrets
from node import Node, Server
from peers.node_identities import node

ANNA, MALLORY = node(), node()
PATIENCE_S = 30.0


class Answer:
    """What came back, to the end of the connection."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.head, _, self.body = raw.partition(b"\r\n\r\n")

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1]) if self.raw else 0

    @property
    def headers(self) -> dict[str, str]:
        lines = self.head.decode("latin-1").split("\r\n")[1:]
        return dict(line.split(": ", 1) for line in lines)

    def json(self) -> Any:
        body = self.body
        if "chunked" in self.headers.get("transfer-encoding", ""):
            body = b"".join(self.body.split(b"\r\n")[1::2])
        return json.loads(body)


class PairedNode:
    """The node, its LAN port, and its own identity."""

    def __init__(self, node: Node, port: int, certificate_pem: bytes) -> None:
        self.node = node
        self.port = port
        self.certificate_pem = certificate_pem
        self.tls = client_context(ANNA, certificate_pem)

    async def connect(
        self, tls: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=tls or self.tls)

    async def send(self, raw: bytes, tls: ssl.SSLContext | None = None) -> Answer:
        """Send bytes, and read what comes until the node ends the connection."""
        reader, writer = await self.connect(tls)
        try:
            writer.write(raw)
            async with asyncio.timeout(PATIENCE_S):
                return Answer(await read_all(reader))
        finally:
            writer.transport.abort()

    async def request(
        self, method: str, path: str, body: object = None, *headers: str, host: str = "peer"
    ) -> Answer:
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} {path} HTTP/1.1", f"host: {host}", "connection: close", *headers]
        if body is not None:
            lines += ["content-type: application/json", f"content-length: {len(content)}"]
        return await self.send("\r\n".join([*lines, "", ""]).encode() + content)

    async def chat(self, model: str, *headers: str, **fields: Any) -> Answer:
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}
        return await self.request("POST", "/v1/chat/completions", body, *headers)


async def read_all(reader: asyncio.StreamReader) -> bytes:
    pieces = []
    try:
        while piece := await reader.read(65536):
            pieces.append(piece)
    except OSError:
        pass
    return b"".join(pieces)


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


@asynccontextmanager
async def simulated(
    home: Path, engines: Sequence[Server] = (), terms: str = "", extra: str = "", port: int = 0
) -> AsyncIterator[PairedNode]:
    """Run a node whose peer is Anna; `terms` are lines of her entry in the configuration."""
    places = Paths.under(config_dir=home, state_dir=home, log_dir=home)
    places.prepare()
    secrets = Secrets(file=places.secrets_file, insecure=True, environ={})
    identity = await NodeIdentityStore(secrets).open()
    PeerCertificates(places.state_dir).put(ANNA.node_id, ANNA.certificate_pem)
    port = port or free_port()
    lan = f"[lan]\nbrowse = false\nlisten = true\nport = {port}\ndoor = {free_port()}\n"
    peer = f'[[peers]]\nid = "{ANNA.node_id}"\nname = "Anna"\nurl = "https://127.0.0.1:9"\n{terms}\n'
    async with Node(home, engines, f"{extra}\n{lan}\n{peer}") as found:
        await settled(found)
        yield PairedNode(found, port, identity.certificate_pem)


async def settled(found: Node) -> dict[str, Any]:
    """Wait until listener and door are as the configuration says, and return what apps see of it."""
    answer = await found.http.patch("/mesh/peers", json={"browse": False})
    assert answer.status_code == 200, answer.text
    view: dict[str, Any] = answer.json()
    return view
