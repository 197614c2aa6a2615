"""A local API with scripted answers: a real server on a real port, with nothing behind it."""

import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec

from meshlight.domain.api_types import SnapshotView
from meshlight.domain.config import Runtime
from meshlight.domain.events import EVENT_NAMES, Event
from meshlight.domain.proof import prove
from servers.api_server import Answer, ApiServer, Request, error_answer, json_answer

KEY = "local-key-of-the-tests"
INSTANCE = "start-1"


class LocalApi(ApiServer):
    """Serves scripted answers under `home`, where it leaves a runtime file and a key as the service does."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.asked: list[Request] = []
        """All requests but those for a proof."""
        self.instance = INSTANCE
        self.key = KEY
        self.proofs = 0
        self._frames: deque[bytes | None] = deque()
        self._changed = threading.Condition()
        self._is_over = False
        super().__init__()

    def __enter__(self) -> Self:
        self.leave_runtime_file()
        return self

    def close(self) -> None:
        with self._changed:
            self._is_over = True
            self._changed.notify_all()
        super().close()

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
        waiting = list(answers)

        def respond(_: Request) -> Answer:
            body = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            return json_answer(body() if callable(body) else body, status)

        self.routes[method, path] = respond

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

    def respond(self, request: Request) -> Answer:
        path, _, challenge = request.path.partition("?challenge=")
        if challenge:
            self.proofs += 1
            proof = prove(self.key, challenge, self.instance)
            return json_answer({"status": "ok", "version": "0.1.0", "proof": proof})
        self.asked.append(request)
        if path == "/healthz":
            return json_answer({"status": "ok", "version": "0.1.0"})
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return error_answer(401, "No key.", "invalid_api_key")
        if request.path == "/mesh/events":
            return Answer(self._events(request), content_type="text/event-stream")
        return super().respond(request)

    def _events(self, request: Request) -> Iterator[bytes]:
        """Yield what is sent, until the client has hung up: what comes after that waits for the next client."""
        yield b": welcome\n\n"
        while True:
            with self._changed:
                self._changed.notify_all()  # those whose client has hung up end now
                self._changed.wait_for(lambda: self._frames or self._is_over or request.has_gone())
                frame = None if self._is_over or request.has_gone() else self._frames.popleft()
            if frame is None:
                return
            yield frame

    def _put(self, frame: bytes | None) -> None:
        with self._changed:
            self._frames.append(frame)
            self._changed.notify_all()
