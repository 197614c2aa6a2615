"""A small server that sends recorded answers of real engines, byte for byte, and records its requests."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from meshlight.backends.base import BackendKind, Probe
from meshlight.domain.backend import Backend
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream

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


class Scripted:
    """The server: its address, its answers by path, and the requests that it got (`asked` has their paths)."""

    def __init__(self, answers: Mapping[str, bytes]) -> None:
        self.answers = dict(answers)
        self.asked: list[str] = []
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.port = 0
        self._open: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                path = head.split(" ")[1]
                self.asked.append(path)
                self.heads.append(head)
                length = head.lower().partition("content-length: ")[2].partition("\r")[0]
                self.bodies.append(await reader.readexactly(int(length or 0)))
                reply = self.answers.get(path, self.answers.get("*", NOT_FOUND))
                if reply == HANG:
                    await reader.read()
                    return
                if reply == BREAK:
                    return
                writer.write(reply)
                await writer.drain()
                if reply.startswith(b"HTTP/1.0"):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._open.discard(writer)
            writer.close()

    def hang_up(self) -> None:
        for writer in list(self._open):
            writer.close()


@asynccontextmanager
async def scripted(answers: Mapping[str, bytes], host: str = "127.0.0.1") -> AsyncIterator[Scripted]:
    """Serve `answers` (path → answer, `*` for all others) on a free port."""
    played = Scripted(answers)
    server = await asyncio.start_server(played.serve, host, 0)
    played.port = server.sockets[0].getsockname()[1]
    try:
        yield played
    finally:
        server.close()
        played.hang_up()
        await server.wait_closed()


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
    async with scripted({path: reply}) as server:
        return await probe(kind, server.url, secret)
