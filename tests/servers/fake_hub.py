"""A hub of models on loopback, in the test's own event loop: lists, and files behind a redirect to a second server.

It is strict: a request that a real hub would not get from us is an error of the test. What goes wrong is queued in
`faults`, one for each answer with a file.
"""

import asyncio
import hashlib
import re
from collections import deque
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote

import msgspec

from servers.byte_server import ByteServer, Peer, Request

TOKEN = "hf_secret"
PIECE = 16_384


@dataclass
class Fault:
    """What is wrong with one answer."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    """Reset the connection after so many bytes of the body."""
    waits: asyncio.Event | None = None
    """Wait for this before the bytes after `cut_after` (or the body's first)."""
    ignores_range: bool = False
    body: bytes | None = None
    """Send this instead of the file."""
    at_hub: bool = False
    """Answer so instead of redirecting."""


@dataclass
class Repository:
    """The files of a repository, and how it is guarded."""

    files: dict[str, bytes]
    is_gated: bool = False
    """Open to those who show the token."""
    hashes: dict[str, str] = field(default_factory=dict)
    """Hashes that the list tells instead of the true ones."""
    extra: list[object] = field(default_factory=list)
    """Further rows of the list."""


class FakeHub:
    """The hub at `url`, and the server of its files at `files.url`, another port and so another origin."""

    def __init__(self, **repositories: Repository) -> None:
        self.repositories = {name.replace("__", "/"): found for name, found in repositories.items()}
        self.faults: deque[Fault] = deque()
        self.page_size = 1000
        self.next_page = ""
        """Where each list says that it goes on."""
        self.list_body: bytes | None = None
        self.arrived = asyncio.Event()
        """Set when a file was asked for."""
        self._hub = ByteServer(self._serve_hub)
        self._files = ByteServer(self._serve_files)
        self._stack = AsyncExitStack()

    @property
    def url(self) -> str:
        return self._hub.url

    @property
    def hub_requests(self) -> list[Request]:
        return self._hub.requests

    @property
    def file_requests(self) -> list[Request]:
        return self._files.requests

    @property
    def ranges(self) -> list[str]:
        """The Range of each request for a file; empty without."""
        return [request.headers.get("range", "") for request in self.file_requests]

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._hub)
        await self._stack.enter_async_context(self._files)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def _serve_hub(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            await self._answer_hub(peer, request)

    async def _answer_hub(self, peer: Peer, request: Request) -> None:
        assert request.method == "GET"
        path, _, query = request.target.partition("?")
        match = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/main", path)
        resolve = re.fullmatch(r"/([^/]+/[^/]+)/resolve/main/(.+)", path)
        found = match or resolve
        name = str(found[1]) if found else ""
        repository = self.repositories.get(name)
        if repository is None:
            await _send(peer, 401, headers={"X-Error-Code": "RepoNotFound"})
        elif repository.is_gated and request.headers.get("authorization") != f"Bearer {TOKEN}":
            await _send(peer, 401, headers={"X-Error-Code": "GatedRepo"})
        elif match:
            await self._list(peer, name, repository, query)
        else:
            assert resolve
            await self._redirect(peer, repository, name, unquote(resolve[2]))

    async def _list(self, peer: Peer, name: str, repository: Repository, query: str) -> None:
        assert "recursive=true" in query
        rows = [*(_row(repository, path, data) for path, data in repository.files.items()), *repository.extra]
        begin = int((re.search(r"cursor=(\d+)", query) or [0, 0])[1])
        end = begin + self.page_size
        following = self.next_page
        if not following and end < len(rows):
            following = f"{self.url}/api/models/{name}/tree/main?recursive=true&cursor={end}"
        headers = {"Link": f'<{following}>; rel="next"'} if following else {}
        body = self.list_body if self.list_body is not None else msgspec.json.encode(rows[begin:end])
        await _send(peer, 200, body, headers)

    async def _redirect(self, peer: Peer, repository: Repository, name: str, path: str) -> None:
        if self.faults and self.faults[0].at_hub:
            fault = self.faults.popleft()
            await _send(peer, fault.status, headers=fault.headers)
        elif path not in repository.files:
            await _send(peer, 404, headers={"X-Error-Code": "EntryNotFound"})
        else:
            data = repository.files[path]
            headers = {
                "Location": f"{self._files.url}/{name}/{path}?signature=s",
                "X-Linked-Etag": f'"{repository.hashes.get(path, _sha256(data))}"',
                "X-Linked-Size": str(len(data)),
            }
            await _send(peer, 302, headers=headers)

    async def _serve_files(self, peer: Peer) -> None:
        while True:
            request = await peer.request()
            assert "authorization" not in request.headers, "the token is the hub's"
            assert "cookie" not in request.headers
            assert request.headers["accept-encoding"] == "identity"
            self.arrived.set()
            owner, repository, path = request.target.partition("?")[0].strip("/").split("/", 2)
            data = self.repositories[f"{owner}/{repository}"].files[unquote(path)]
            if not await self._send_file(peer, request, data):
                return

    async def _send_file(self, peer: Peer, request: Request, data: bytes) -> bool:
        """Send a file as asked, but for what is wrong; returns whether the connection is still good."""
        fault = self.faults.popleft() if self.faults else Fault()
        if fault.status:
            await _send(peer, fault.status, headers=fault.headers)
            return True
        data = data if fault.body is None else fault.body
        etag = f'"{_sha256(data)[:16]}"'
        asked = request.headers.get("range")
        begin, status = 0, 200
        headers = {"ETag": etag, "Accept-Ranges": "bytes", **fault.headers}
        if asked and not fault.ignores_range and request.headers.get("if-range", etag) == etag:
            match = re.fullmatch(r"bytes=(\d+)-", asked)
            assert match, asked
            begin, status = int(match[1]), 206
            if begin >= len(data):
                await _send(peer, 416, headers={"Content-Range": f"bytes */{len(data)}"})
                return True
            headers["Content-Range"] = f"bytes {begin}-{len(data) - 1}/{len(data)}"
        body = data[begin:]
        await peer.send(_head(status, len(body), headers))
        until = len(body) if fault.cut_after is None else fault.cut_after
        for at in range(0, until, PIECE):
            await peer.send(body[at : min(at + PIECE, until)])
        if fault.waits is not None:
            await fault.waits.wait()
            await peer.send(body[until:])
        elif fault.cut_after is not None:
            peer.writer.close()
            return False
        return True


async def _send(peer: Peer, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
    await peer.send(_head(status, len(body), headers or {}) + body)


def _head(status: int, length: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {length}", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _row(repository: Repository, path: str, data: bytes) -> dict[str, object]:
    row: dict[str, object] = {"type": "file", "path": path, "size": len(data), "oid": "0" * 40}
    if path.endswith(".gguf"):
        row["lfs"] = {
            "oid": repository.hashes.get(path, _sha256(data)),
            "size": len(data),
            "pointerSize": 130,
        }
    return row


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
