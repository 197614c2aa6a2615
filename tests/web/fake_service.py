"""A stand-in for the service, to look at the page with meshes of any size: it serves `web/` under the real policy
and answers `/mesh/*` from seeded meshes built of the domain's own structs.

    python tests/web/fake_service.py --backends 100 --models 2000 --rate 20

It generates; it does not imitate: tests/web/test_real.py and its neighbours look at the page with the real service.
"""

import argparse
import asyncio
import contextlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs

import msgspec
from msgspec.structs import replace

from meshlight.domain.api_types import BackendView, Workload
from meshlight.domain.events import SettingsEvent
from meshlight.domain.findings import Finding, FindingList
from meshlight.domain.welcome import Progress, WelcomeView
from meshlight.gateway.control.kinds import KindList
from meshlight.gateway.control.qr import MEDIA_TYPE, svg
from meshlight.service.welcome import key_providers

sys.path.insert(0, str(Path(__file__).parents[1]))

from web.fake_apps import app_texts
from web.fake_chat import FakeAnswer
from web.fake_kinds import KINDS_HERE, NO_KEY, culprit_of
from web.fake_local import local_answer
from web.fake_peers import peers_answer
from web.fake_settings import NO_KEYRING, FakeSettings
from web.live_mesh import LiveMesh
from web.sample_mesh import health, mesh

ASKED_WITHIN_S = 30.0
WEB = Path(__file__).parents[2] / "web"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript",
    ".css": "text/css",
    ".woff2": "font/woff2",
}


class FakeService(LiveMesh):
    """The mesh, and a small HTTP server over it and its events."""

    def __init__(self, views: list[BackendView], rate: float = 0.0, tick_s: float = 5.0) -> None:
        super().__init__(views)
        self.rate = rate
        self.tick_s = tick_s
        self.key: str | None = None
        """When set, everything under /mesh wants the session that this key opens."""
        self.is_dumb = False
        """When set, /mesh answers nothing: requests wait."""
        self.sent_snapshot: Callable[[], Any] = self.snapshot
        """What is sent as the snapshot; another version of the service may send less or more."""
        self.settings = FakeSettings()
        self.lets_in = False
        """Whether a browser that asks is let in."""
        self.has_tray = True
        self.routes: list[dict[str, Any]] = []
        """Further lines of `/mesh/route`."""
        self.answers: list[FakeAnswer] = []
        """What models answer, one after the other; then always the same."""
        self.welcome = WelcomeView(
            done=(), is_over=True, login_asked=True, has_demo=False, providers=key_providers()
        )
        """The first run, which is over unless a test begins it."""
        self.findings: list[Finding] = []
        """What `/mesh/findings` lists."""
        self.apps = app_texts(self)
        self.port = 0
        self.asked: list[tuple[str, str, Any]] = []
        """What was asked under /mesh: method, path, body."""
        self._was_asked = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._open: set[asyncio.Task[Any]] = set()

    async def start(self) -> "FakeService":
        """Listen on a free port of the loopback; the address is `url`."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tasks = [asyncio.create_task(self.breathe(self.tick_s))]
        if self.rate:
            self._tasks.append(asyncio.create_task(self.serve_requests(self.rate)))
        return self

    async def stop(self) -> None:
        """Stop everything, open connections included."""
        if self._server:
            self._server.close()
        going = [*self._tasks, *self._open]
        for task in going:
            task.cancel()
        await asyncio.gather(*going, return_exceptions=True)
        self._tasks = []

    @property
    def url(self) -> str:
        """The address to open."""
        return f"http://127.0.0.1:{self.port}/"

    async def until_asked(self, read: Callable[[], object], expected: object) -> None:
        """Wait until what `read` returns of `asked` is this: the page may show a change before it has sent it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ASKED_WITHIN_S):
                while read() != expected:
                    self._was_asked.clear()
                    await self._was_asked.wait()
        assert read() == expected, f"{read()} was asked, and not {expected}"

    def _note(self, method: str, path: str, body: bytes) -> None:
        self.asked.append((method, path, msgspec.json.decode(body) if body else None))
        self._was_asked.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if task := asyncio.current_task():
            self._open.add(task)
            task.add_done_callback(self._open.discard)
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        line = (await reader.readline()).decode()
        if not line:
            return False
        method, target, _ = line.split(" ", 2)
        size, cookie = 0, False
        while (head := await reader.readline()) not in {b"\r\n", b""}:
            name, _, value = head.decode().partition(":")
            size = int(value) if name.lower() == "content-length" else size
            cookie = cookie or (name.lower() == "cookie" and "meshlight_session=open" in value)
        body = await reader.readexactly(size)
        path = target.split("?")[0]
        locked = self.key is not None and not cookie
        if path == "/mesh/events" and not locked:
            await self._events(writer)
            return False
        if path == "/mesh/session" and method == "POST":
            right = msgspec.json.decode(body).get("key") == self.key
            extra = (
                "set-cookie: meshlight_session=open; HttpOnly; SameSite=Strict; Path=/\r\n" if right else ""
            )
            self._answer(writer, 204 if right else 401, b"", "application/json", extra)
        elif path.startswith("/mesh/session/request"):
            self._ask_to_be_let_in(writer, path)
        elif path.startswith("/mesh") and locked:
            self._answer(
                writer, 401, b'{"error":{"message":"No key.","code":"no_key","hint":""}}', "application/json"
            )
        elif path == "/mesh/chat/completions":
            self._note(method, path, body)
            await self._chat(reader, writer)
            return False
        elif path == "/mesh/qr":
            self._answer(writer, 200, svg(parse_qs(target)["/mesh/qr?text"][0]), MEDIA_TYPE)
        elif path.startswith("/mesh"):
            if self.is_dumb:
                await asyncio.Event().wait()
            status, data = await self._mesh(method, path, body, parse_qs(target.partition("?")[2]))
            self._note(method, path, body)
            self._answer(writer, status, msgspec.json.encode(data), "application/json")
        else:
            file = (WEB / (path.lstrip("/") or "index.html")).resolve()
            if file.is_file() and WEB in file.parents:
                self._answer(
                    writer, 200, file.read_bytes(), TYPES.get(file.suffix, "application/octet-stream")
                )
            else:
                self._answer(writer, 404, b"", "text/plain")
        await writer.drain()
        return True

    async def _chat(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = self.answers.pop(0) if self.answers else FakeAnswer()
        writer.write(answer.head())

        async def send() -> None:
            async for part in answer.parts():
                writer.write(part)
                await writer.drain()

        sending, leaving = asyncio.create_task(send()), asyncio.create_task(reader.read())
        done, pending = await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if leaving in done and answer.left:
            answer.left.set()
        for task in pending:
            task.cancel()
        await asyncio.gather(*done, *pending, return_exceptions=True)

    def _ask_to_be_let_in(self, writer: asyncio.StreamWriter, path: str) -> None:
        """Answer a browser without a key that asks to be let in."""
        if not path.endswith("/answer"):
            asked = {"code": "4821", "left_s": 60, "tray": self.has_tray}
            self._answer(writer, 200, msgspec.json.encode(asked), "application/json")
            return
        cookie = "set-cookie: meshlight_session=open; HttpOnly; SameSite=Strict; Path=/\r\n"
        body = b'{"allowed":true}' if self.lets_in else b'{"allowed":false}'
        self._answer(writer, 200, body, "application/json", cookie if self.lets_in else "")

    async def _mesh(
        self, method: str, path: str, body: bytes, query: dict[str, list[str]]
    ) -> tuple[int, object]:
        parts = path.split("/")[2:]
        plain: dict[str, Callable[[], object]] = {
            "snapshot": self.sent_snapshot,
            "kinds": lambda: KindList(KINDS_HERE),
            "history": self.history,
            "findings": lambda: FindingList(tuple(self.findings)),
            "peers": lambda: self.peers,
            "apps": lambda: self.apps.view(query.get("model", [""])[0]),
        }
        sent = msgspec.json.decode(body) if body else {}
        if method == "GET" and (tell := plain.get("/".join(parts))):
            return 200, tell()
        if answer := self._answers.get(parts[0]):
            return answer(self, method, parts[1:], {name: v[0] for name, v in query.items()} | sent)
        if parts == ["refresh"]:
            self._tasks.append(asyncio.create_task(self.refresh()))
            return 202, {"id": "r1", "total": len(self.views)}
        if parts == ["route"]:
            routes = [
                {"backend": v.id, "name": v.name, "why": f"{v.ring}, {v.health.state}, nothing in flight"}
                for v in list(self.views.values())[:3]
            ]
            routes += self.routes
            return 200, {"policy": "local-first", "answers": routes[0]["backend"], "routes": routes}
        if parts[0] in {"settings", "keys"} or (method, parts) == ("DELETE", ["history"]):
            return self._settings(method, parts, sent)
        if parts == ["backends"] and method == "POST":
            return self._add(sent)
        if parts[:1] == ["backends"] and len(parts) >= 2 and parts[1] in self.views:
            return self._backend(method, self.views[parts[1]], parts[-1], sent)
        return 404, {"error": {"message": "No such thing.", "code": "not_found", "hint": ""}}

    def _follow_welcome(self, method: str, parts: list[str], sent: dict[str, Any]) -> tuple[int, object]:
        """Answer with how far the first run is, after a change if one was sent."""
        del method, parts
        now = self.welcome
        if step := sent.get("done"):
            progress = Progress(done=now.done, is_over=now.is_over, login_asked=now.login_asked).with_done(
                step
            )
            now = replace(now, done=progress.done, is_over=progress.is_over, login_asked=progress.login_asked)
        self.welcome = replace(now, is_over=sent.get("is_over", now.is_over))
        return 200, self.welcome

    def _switch_demo(self, method: str, parts: list[str], sent: dict[str, Any]) -> tuple[int, object]:
        """Start or end the demo, which is one backend here."""
        del parts, sent
        if method == "POST":
            self.put(replace(mesh(1, 2)[0], id="demo-1", name="Demo Ollama", source="demo"))
        else:
            self.remove("demo-1")
        return 200, self.welcome

    def _settings(self, method: str, parts: list[str], sent: dict[str, Any]) -> tuple[int, object]:
        """Answer with the settings, after a change if one was sent, which every page is told."""
        if parts == ["history"]:
            return 204, {}
        answer = self.settings.answer(method, parts, sent)
        for rule in sent.get("routing", {}).get("rules", ()):
            for ident in rule.get("also", ()):
                self.use(rule["model"], ident)
        if method != "GET" and answer[0] < 300:
            self.publish(lambda seq: SettingsEvent(seq=seq))
        return answer

    _answers: ClassVar[dict[str, Callable[..., tuple[int, object]]]] = {
        "models": local_answer,
        "peers": peers_answer,
        "welcome": _follow_welcome,
        "demo": _switch_demo,
    }

    def _add(self, sent: dict[str, Any]) -> tuple[int, object]:
        """Add a backend, unless it is one that refuses."""
        if sent.get("api_key") and self.settings.lacks_keyring():
            return 409, {"error": NO_KEYRING}
        if not sent.get("save_anyway") and (culprit := culprit_of(sent)):
            return 422, {"error": culprit}
        view = BackendView(
            id="new-1",
            name=sent.get("name") or "new one",
            kind=sent["kind"],
            ring=sent.get("ring", "machine"),
            url=sent.get("url", "https://api.example.com"),
            enabled=sent.get("enabled", True),
            source="config",
            health=health("healthy", sent.get("url", "")),
            latency_ms=3.0,
            models=("tiny-1b",),
            in_flight=0,
            requests=Workload(),
        )
        self.put(view)
        return 201, view

    def _backend(self, method: str, view: BackendView, verb: str, sent: dict[str, Any]) -> tuple[int, object]:
        """Answer for one backend."""
        if verb in {"load", "unload"}:
            return 202, {}
        if method == "DELETE":
            self.remove(view.id)
            return 200, {}
        if verb == "check":
            return 200, {
                "ok": view.health.state == "healthy",
                "health": view.health,
                "latency_ms": view.latency_ms,
                "models": view.models,
            }
        if verb in {"enable", "disable"}:
            self.put(replace(view, enabled=verb == "enable"))
        elif method == "PATCH":
            if culprit := culprit_of(sent):
                return 422, {"error": culprit}
            if not sent.get("api_key") and "keyed" in sent.get("url", ""):
                return 400, {"error": NO_KEY}
            self.put(replace(view, **{k: v for k, v in sent.items() if k in {"name", "url", "ring"}}))
        return 200, self.views[view.id]

    async def _events(self, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.listeners.add(queue)
        try:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
            first = msgspec.json.encode(self.sent_snapshot())
            writer.write(f"id: {self.seq}\nevent: snapshot\ndata: ".encode() + first + b"\n\n")
            while True:
                writer.write(await queue.get())
                await writer.drain()
        finally:
            self.listeners.discard(queue)

    @staticmethod
    def _answer(writer: asyncio.StreamWriter, status: int, body: bytes, kind: str, extra: str = "") -> None:
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{extra}"
            f"content-security-policy: {POLICY}\r\ncache-control: no-store\r\n\r\n".encode()
            + body
        )


async def _main(args: argparse.Namespace) -> None:
    service = FakeService(mesh(args.backends, args.models) if args.backends else [], args.rate)
    service.port = args.port
    await service.start()
    print(service.url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--backends", type=int, default=10)
    words.add_argument("--models", type=int, default=60)
    words.add_argument("--rate", type=float, default=6.0, help="requests a second")
    words.add_argument("--port", type=int, default=0, help="0 takes a free one")
    asyncio.run(_main(words.parse_args()))
