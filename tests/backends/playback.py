"""A server that sends recorded answers of real engines, byte for byte, and probes of it."""

import json
import ssl
from collections.abc import Mapping
from typing import Any

from meshlight.backends.base import BackendKind, Probe
from meshlight.domain.backend import Backend
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream
from servers.byte_server import ByteServer, Peer

HANG = b"\0hang"
"""Read the request and never answer."""
BREAK = b"\0break"
"""Read the request and close the connection."""


def answer(body: object = b"", status: int = 200, *, http: str = "1.1", **headers: str) -> bytes:
    """Return an answer as it is sent; a body that is not bytes becomes JSON. HTTP/1.0 answers end by closing."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields: dict[str, str] = {} if isinstance(body, bytes) else {"Content-Type": "application/json"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    if http == "1.1":
        fields["Content-Length"] = str(len(content))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/{http} {status} X\r\n{head}\r\n".encode() + content


NOT_FOUND = answer(b"Not Found", 404, Content_Type="text/plain")
PAGE = answer(b"<!doctype html><title>My shop</title>", Content_Type="text/html")


class Playback(ByteServer):
    """The server: its answers by path (`*` for all others), and the requests that it got."""

    def __init__(
        self,
        answers: Mapping[str, bytes],
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(self._play, tls, host=host, port=port)
        self.answers = dict(answers)

    @property
    def asked(self) -> list[str]:
        """The paths of its requests."""
        return [request.target for request in self.requests]

    @property
    def heads(self) -> list[str]:
        return [request.raw_head.decode() for request in self.requests]

    @property
    def bodies(self) -> list[bytes]:
        return [request.body for request in self.requests]

    async def _play(self, peer: Peer) -> None:
        while True:
            path = (await peer.request()).target
            reply = self.answers.get(path, self.answers.get("*", NOT_FOUND))
            if reply == HANG:
                await peer.until_gone()
                return
            if reply == BREAK:
                return
            await peer.send(reply)
            if reply.startswith(b"HTTP/1.0"):
                return


def backend(kind: BackendKind, url: str, **fields: Any) -> Backend:
    return Backend(id="b", name="b", kind=kind.kind, ring="machine", url=url, **fields)


async def probe(kind: BackendKind, url: str, secret: str | None = None) -> Probe:
    """Probe once, over a real socket."""
    upstream = Upstream(parse_address(url))
    try:
        return await kind.probe(upstream, backend(kind, url), secret)
    finally:
        upstream.close()


async def detect(kind: BackendKind, url: str) -> Any:
    upstream = Upstream(parse_address(url))
    try:
        return await kind.detect(upstream)
    finally:
        upstream.close()


async def probe_answer(kind: BackendKind, path: str, reply: bytes, secret: str | None = None) -> Probe:
    """Probe a server that answers `reply` at `path` and 404 elsewhere."""
    async with Playback({path: reply}) as server:
        return await probe(kind, server.url, secret)
