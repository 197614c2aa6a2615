"""A local API that says what a test tells it to: a real server on a real port, with nothing behind it."""

import contextlib
import select
import threading
from collections import deque
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import msgspec
from msgspec import Struct

from meshlight.domain.api_types import SnapshotView
from meshlight.domain.config import Runtime
from meshlight.domain.events import EVENT_NAMES, Event
from meshlight.domain.proof import prove

KEY = "local-key-of-the-tests"
INSTANCE = "start-1"


class Asked(Struct, frozen=True):
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


class LocalApi:
    """Serves scripted answers under `home`, where it leaves a runtime file and a key as the service does."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.answers: dict[tuple[str, str], list[tuple[int, object]]] = {}
        self.asked: list[Asked] = []
        self.instance = INSTANCE
        self.key = KEY
        self.proofs = 0
        self.hangs_up = False
        """Whether it ends each connection with its answer, as a service does that stops."""
        self._frames: deque[bytes | None] = deque()
        self._changed = threading.Condition()
        self._is_over = False
        api = self

        class Handler(_Handler):
            local_api: ClassVar[LocalApi] = api

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def __enter__(self) -> Self:
        self.leave_runtime_file()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        return self._server.server_port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def runtime_file(self) -> Path:
        return self.home / "runtime.json"

    def leave_runtime_file(self) -> None:
        key_file = self.home / "local.key"
        key_file.write_text(KEY)
        runtime = Runtime(url=self.url, pid=4242, instance=INSTANCE, key_file=str(key_file), version="0.1.0")
        self.runtime_file.write_bytes(msgspec.json.encode(runtime))

    def says(self, method: str, path: str, *answers: object, status: int = 200) -> None:
        """Answer such requests with these bodies, one after the other; the last stays."""
        self.answers[method, path] = [(status, answer) for answer in answers]

    def fails(self, method: str, path: str, status: int, code: str, title: str, hint: str = "") -> None:
        """Answer with an error in the envelope in which the service sends them."""
        error = {"message": f"{title} {hint}".strip(), "type": "t", "code": code, "param": None, "hint": hint}
        self.says(method, path, {"error": error}, status=status)

    def send(self, event: Event | SnapshotView) -> None:
        """Send an event to whoever listens."""
        name = "snapshot" if isinstance(event, SnapshotView) else EVENT_NAMES[type(event)]
        self._put(f"id: {event.seq}\nevent: {name}\ndata: {msgspec.json.encode(event).decode()}\n\n".encode())

    def end_events(self) -> None:
        """End the stream of events, as a service does that stops."""
        self._put(None)

    def frames(self, has_gone: Callable[[], bool]) -> Iterator[bytes]:
        """Yield what is sent, to one who listens until it `has_gone`: what comes then waits for the next."""
        while True:
            with self._changed:
                self._changed.notify_all()  # who has gone leaves now
                self._changed.wait_for(lambda: self._frames or self._is_over or has_gone())
                frame = None if self._is_over or has_gone() else self._frames.popleft()
            if frame is None:
                return
            yield frame

    def _put(self, frame: bytes | None) -> None:
        with self._changed:
            self._frames.append(frame)
            self._changed.notify_all()


class _Handler(BaseHTTPRequestHandler):
    local_api: ClassVar[LocalApi]
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the standard library's signature
        pass

    def _serve(self) -> None:
        api = self.local_api
        length = int(self.headers.get("content-length") or 0)
        raw = self.rfile.read(length)
        body = msgspec.json.decode(raw) if raw else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        path, _, challenge = self.path.partition("?challenge=")
        if challenge:
            proof = prove(api.key, challenge, api.instance)
            api.proofs += 1
            self._answer(200, {"status": "ok", "version": "0.1.0", "proof": proof})
            return
        api.asked.append(Asked(self.command, path, headers, body))
        if path == "/healthz":
            self._answer(200, {"status": "ok", "version": "0.1.0"})
        elif headers.get("authorization") != f"Bearer {KEY}":
            self._answer(401, {"error": {"message": "No key.", "type": "t", "code": "invalid_api_key"}})
        elif self.path == "/mesh/events":
            self._stream()
        else:
            script = api.answers.get((self.command, self.path))
            if script is None:
                self._answer(
                    404,
                    {"error": {"message": f"Nothing scripted for {self.path}.", "type": "t", "code": "x"}},
                )
            else:
                self._answer(*(script.pop(0) if len(script) > 1 else script[0]))

    do_GET = do_POST = do_PATCH = do_DELETE = _serve  # noqa: N815 -- the standard library's names

    def _answer(self, status: int, body: object) -> None:
        if callable(body):
            body = body()
        raw = b"" if body is None else msgspec.json.encode(body)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(raw)))
        if self.local_api.hangs_up:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(raw)

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.write(b": welcome\n\n")
            for frame in self.local_api.frames(self._has_gone):
                self.wfile.write(frame)

    def _has_gone(self) -> bool:
        """Whether the client has hung up: it sends nothing, so all there is to read is the end."""
        return bool(select.select([self.connection], [], [], 0)[0])
