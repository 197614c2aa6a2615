"""A real gateway server in a thread, and raw sockets to attack it with."""

import asyncio
import contextlib
import json
import select
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from meshlight.domain.config import Config
from meshlight.gateway.access.guard import Guard
from meshlight.gateway.access.sessions import Sessions
from meshlight.gateway.server.asgi import ASGIApp, Receive, Scope, Send
from meshlight.gateway.server.limits import DEFAULT_LIMITS, Limits
from meshlight.gateway.server.listener import bind
from meshlight.gateway.server.server import GatewayServer

KEY = b"canary-4f1d9c-local-key"
PATIENCE_S = 10.0
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.new_event_loop}
if sys.platform != "win32":
    import uvloop

    LOOPS["uvloop"] = uvloop.new_event_loop


@dataclass
class Echo:
    """An application that answers with what it was asked, and remembers it."""

    asked: list[dict[str, Any]] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        size = 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            size += len(message["body"])
            if not message["more_body"]:
                break
        request = {
            "method": scope["method"],
            "path": scope["path"],
            "query": scope["query_string"].decode(),
            "headers": [[name.decode(), value.decode("latin-1")] for name, value in scope["headers"]],
            "size": size,
        }
        self.asked.append(request)
        body = json.dumps(request).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@dataclass
class Gateway:
    """A running server."""

    port: int
    server: GatewayServer
    loop: asyncio.AbstractEventLoop
    sessions: Sessions
    settings: dict[str, bool]

    def connect(self) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def ask(self, raw: bytes) -> "Reply":
        """Send bytes, and read what comes until the server ends the connection."""
        with self.connect() as sock:
            sock.sendall(raw)
            return Reply(read_all(sock))

    def request(
        self,
        method: str = "GET",
        path: str = "/mesh/x",
        *headers: tuple[str, str],
        body: bytes = b"",
        host: str = "",
    ) -> "Reply":
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {host or f'127.0.0.1:{self.port}'}",
            "Connection: close",
        ]
        lines += [f"{name}: {value}" for name, value in headers]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return self.ask("\r\n".join([*lines, "", ""]).encode("latin-1") + body)


@dataclass
class Reply:
    """What came back, to the end of the connection."""

    raw: bytes

    @property
    def status(self) -> int:
        return int(self.raw.split(b" ", 2)[1]) if self.raw else 0

    @property
    def head(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[0]

    @property
    def body(self) -> bytes:
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def count(self) -> int:
        """How many answers came."""
        return self.raw.count(b"HTTP/1.1 ")

    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        found = self.headers(name)
        return found[0] if found else None

    def headers(self, name: str) -> list[str]:
        pairs = (line.partition(b": ") for line in self.head.split(b"\r\n")[1:])
        return [value.decode() for key, _, value in pairs if key.decode() == name]


def read_all(sock: socket.socket) -> bytes:
    """Read until the server ends the connection, cleanly or not."""
    pieces = []
    while True:
        try:
            piece = sock.recv(65536)
        except ConnectionResetError:
            break
        if not piece:
            break
        pieces.append(piece)
    return b"".join(pieces)


def drip(sock: socket.socket, data: bytes, pause_s: float) -> bytes:
    """Send one byte after another, pausing for as long as nothing comes back; return what came in the end."""
    for place in range(len(data)):
        try:
            sock.sendall(data[place : place + 1])
        except OSError:
            break
        if select.select([sock], [], [], pause_s)[0]:
            break
    return read_all(sock)


@contextmanager
def running(
    app: ASGIApp,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop,
    *,
    limits: Limits = DEFAULT_LIMITS,
    guarded: bool = True,
    free: frozenset[str] = frozenset({"/"}),
    ending: Callable[[], Any] | None = None,
    sessions: Sessions | None = None,
    allowed_hosts: list[str] | None = None,
    allowed_origins: list[str] | None = None,
) -> Iterator[Gateway]:
    """Run a server on a free port while the block runs."""
    sock = bind("127.0.0.1", 0)
    port = sock.getsockname()[1]
    settings = {"require_key": True}
    kept = sessions or Sessions(lambda: 0.0)
    inner = app
    if guarded:
        inner = Guard(
            app,
            port=port,
            is_key=KEY.__eq__,
            sessions=kept,
            settings=lambda: Config(
                require_key=settings["require_key"],
                allowed_hosts=tuple(allowed_hosts or ()),
                allowed_origins=tuple(allowed_origins or ()),
            ),
            free=free,
        )
    ready = threading.Event()
    made: list[Gateway] = []
    faults: list[BaseException] = []

    async def main() -> None:
        server = GatewayServer(inner, limits=limits, ending=ending)
        made.append(Gateway(port, server, asyncio.get_running_loop(), kept, settings))
        serving = asyncio.create_task(server.serve([sock]))
        await asyncio.wait(
            [serving, waiting := asyncio.create_task(server.ready.wait())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        waiting.cancel()
        ready.set()
        await serving

    def work() -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory) as runner:
                runner.run(main())
        except BaseException as fault:  # noqa: BLE001 - shown to the test below
            faults.append(fault)
            ready.set()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        assert ready.wait(PATIENCE_S)
        if faults:
            raise faults[0]
        yield made[0]
    finally:
        if thread.is_alive():
            with contextlib.suppress(RuntimeError):  # the test may have stopped it, and its loop be gone
                made[0].loop.call_soon_threadsafe(made[0].server.stop)
        thread.join(PATIENCE_S)
        assert not thread.is_alive(), "the server did not stop"
    if faults:
        raise faults[0]
