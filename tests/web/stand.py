"""A stand-in for the service, to look at the page with meshes of any size: it serves `web/` under the real policy
and answers `/mesh/*` from seeded meshes built of the domain's own structs.

    python tests/web/stand.py --backends 100 --models 2000 --rate 20

It generates; it does not imitate: behaviour is tested against the real service.
"""

import argparse
import asyncio
import contextlib
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from meshlight.domain.backend import Kind, Ring
from meshlight.domain.events import (
    EVENT_NAMES,
    Event,
    HealthEvent,
    IncidentEvent,
    RefreshEvent,
    RouteTraffic,
    TopologyEvent,
    TrafficEvent,
)
from meshlight.domain.health import State
from meshlight.domain.view import (
    BackendView,
    HealthChange,
    HealthView,
    ModelView,
    Requests,
    RouterView,
    SnapshotView,
    Work,
)

WEB = Path(__file__).parents[2] / "web"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
TYPES = {".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css"}
FAMILIES = [
    "llama-3.3-70b", "qwen3-32b", "gemma-3-27b", "llama-3.2-3b", "mistral-small-24b", "nomic-embed-v2", "bge-m3",
    "qwen3-coder-30b", "whisper-large-v3", "gpt-oss-20b", "phi-4-mini", "deepseek-r1-distill-qwen-32b",
    "mlx-community/Qwen3-4B-Instruct-2507-4bit", "gpt-oss-120b", "granite-4.0-h-small", "smollm3-3b",
]  # fmt: skip
NAMES: dict[Ring, list[tuple[str, Kind]]] = {
    "machine": [("llama.cpp", "llamacpp"), ("Ollama", "ollama"), ("LM Studio", "lmstudio"), ("MLX", "mlx")],
    "lan": [("studio-mac", "peer"), ("workstation-a6000", "peer"), ("reading-room-mini", "vllm")],
    "company": [("continuum-berlin", "continuum"), ("continuum-seoul", "continuum"), ("h100-cluster", "cluster"),
                ("a100-finetuning", "cluster")],
    "cloud": [("OpenAI", "openai"), ("Anthropic", "anthropic"), ("Gemini", "gemini")],
}  # fmt: skip
REASONS: dict[State, tuple[str, str, str]] = {
    "healthy": ("ok", "Answers as it should.", ""),
    "warming": ("loading", "Loading the model.", "Wait: it says itself when it is ready."),
    "unhealthy": (
        "refused",
        "Connection refused at {host}.",
        "Is the server running? Start it, then check again.",
    ),
    "unknown": ("not-checked", "Not checked yet.", "Wait a moment, or press Refresh."),
}


def health(state: State, url: str, since_s: float = 90.0) -> HealthView:
    """Return a health with the words the service would find for it."""
    code, text, fix = REASONS[state]
    return HealthView(
        state=state, reason=code, text=text.format(host=url.split("//")[-1]), fix=fix, since_s=since_s
    )


def mesh(backends: int, models: int, seed: int = 7) -> list[BackendView]:
    """Return a seeded mesh: the same numbers give the same mesh."""
    dice = random.Random(seed)
    rings: list[Ring] = ["machine", "lan", "company", "cloud"]
    out: list[BackendView] = []
    quota = [max(1, round(models / backends * dice.uniform(0.45, 1.55))) for _ in range(backends)]
    while sum(quota) != models:
        at = dice.randrange(backends)
        quota[at] = max(1, quota[at] + (1 if sum(quota) < models else -1))
    for i in range(backends):
        ring = rings[i * 4 // backends]
        known = NAMES[ring]
        nth = i - next(j for j in range(backends) if rings[j * 4 // backends] == ring)
        name, kind = (
            known[nth % len(known)]
            if nth < len(known)
            else (f"{known[nth % len(known)][0]}-{nth}", known[nth % len(known)][1])
        )
        url = (
            f"http://10.0.{i // 250}.{i % 250}:8080"
            if ring != "cloud"
            else f"https://api.{name.lower()}.example"
        )
        if ring == "machine":
            url = f"http://127.0.0.1:{8080 + i}"
        roll = dice.random()
        state: State = "unhealthy" if roll > 0.94 else "warming" if roll > 0.91 else "healthy"
        many = (
            FAMILIES
            if quota[i] <= len(FAMILIES)
            else [f"{f}-v{v}" for v in range(1 + quota[i] // len(FAMILIES)) for f in FAMILIES]
        )
        out.append(
            BackendView(
                id=f"{kind}-{i}", name=name, kind=kind, ring=ring, url=url, enabled=dice.random() > 0.03, source="config",
                health=health(state, url), latency_ms=round(dice.uniform(4, 320), 1) if state == "healthy" else None,
                models=tuple(many[(i * 3 + j) % len(many)] for j in range(quota[i])), in_flight=0,
                requests=Work(total=4_000 + i, successful=3_980 + i, failed=20),
            )
        )  # fmt: skip
    if backends == 10:
        out[4] = replace(out[4], health=health("unhealthy", out[4].url), latency_ms=None, enabled=True)
        out[7] = replace(out[7], health=health("warming", out[7].url), latency_ms=None, enabled=True)
    return out


class Stand:
    """The mesh, its event stream, and a small HTTP server over both."""

    def __init__(self, views: list[BackendView], rate: float = 0.0, tick_s: float = 5.0) -> None:
        self.views = {v.id: v for v in views}
        self.rate = rate
        self.tick_s = tick_s
        self.seq = 1
        self.requests = Requests(total=48_211, successful=47_950, failed=261)
        self.listeners: set[asyncio.Queue[bytes]] = set()
        self.key: str | None = None
        """When set, everything under /mesh wants the session that this key opens."""
        self.seen: list[tuple[str, str, bytes]] = []
        """What was asked: method, path, body."""
        self.dice = random.Random(11)
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._open: set[asyncio.Task[Any]] = set()

    def snapshot(self) -> SnapshotView:
        """Return the whole mesh."""
        routes: dict[str, list[str]] = {}
        for view in self.views.values():
            for model in view.models if view.enabled else ():
                routes.setdefault(model, []).append(view.id)
        return SnapshotView(
            seq=self.seq,
            router=RouterView(node_id="n-1", name="desk", version="0.1.0", status="running", uptime_s=8_100, requests=self.requests),
            light="amber" if any(v.health.state == "unhealthy" for v in self.views.values()) else "green",
            light_reason="1 of 10 down", backends=tuple(self.views.values()),
            models=tuple(ModelView(id=m, backends=tuple(ids)) for m, ids in routes.items()),
        )  # fmt: skip

    def publish(self, make: Callable[[int], Event]) -> None:
        """Number one event and send it to every listener."""
        self.seq += 1
        self.send(make(self.seq))

    def send(self, event: Event | SnapshotView) -> None:
        """Send an event as it is."""
        name = "snapshot" if isinstance(event, SnapshotView) else EVENT_NAMES[type(event)]
        frame = f"id: {event.seq}\nevent: {name}\ndata: ".encode() + msgspec.json.encode(event) + b"\n\n"
        for queue in self.listeners:
            queue.put_nowait(frame)

    def become(self, ident: str, state: State) -> None:
        """Let one backend change its state, and tell it as the service does."""
        old = self.views[ident]
        new = replace(
            old, health=health(state, old.url, 0.0), latency_ms=old.latency_ms if state == "healthy" else None
        )
        self.views[ident] = new
        self.tell(new)
        self.publish(lambda seq: IncidentEvent(seq=seq, backend=ident, from_=old.health.state, to=state,
                                               reason=new.health.reason, text=new.health.text))  # fmt: skip

    def tell(self, *views: BackendView) -> None:
        """Send the health of these backends."""
        changes = tuple(
            HealthChange(id=v.id, enabled=v.enabled, health=v.health, latency_ms=v.latency_ms) for v in views
        )
        self.publish(lambda seq: HealthEvent(seq=seq, backends=changes))

    def put(self, view: BackendView) -> None:
        """Add or change a backend."""
        self.views[view.id] = view
        self.publish(lambda seq: TopologyEvent(seq=seq, backends=(view,)))

    def remove(self, ident: str) -> None:
        """Take a backend away."""
        self.views.pop(ident)
        self.publish(lambda seq: TopologyEvent(seq=seq, backends=(), removed=(ident,)))

    def flow(self, *routes: RouteTraffic) -> None:
        """Send one traffic event."""
        r = self.requests
        started, ok, failed = (sum(getattr(t, f) for t in routes) for f in ("started", "ok", "failed"))
        self.requests = Requests(total=r.total + started, successful=r.successful + ok, failed=r.failed + failed,
                                 in_flight=max(0, r.in_flight + started - ok - failed))  # fmt: skip
        self.publish(lambda seq: TrafficEvent(seq=seq, routes=routes, router=self.requests))

    async def start(self) -> "Stand":
        """Listen on a free port of the loopback; the address is `url`."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._tasks = [asyncio.create_task(self._tick())] + (
            [asyncio.create_task(self._traffic())] if self.rate else []
        )
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

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(self.tick_s)
            for view in list(self.views.values()):
                if view.latency_ms is not None:
                    self.views[view.id] = replace(
                        view, latency_ms=round(max(1.0, view.latency_ms * self.dice.uniform(0.93, 1.075)), 1)
                    )
            self.tell(*self.views.values())

    async def _traffic(self) -> None:
        flying: list[tuple[str, str]] = []
        while True:
            await asyncio.sleep(0.25)
            routes: dict[tuple[str, str], list[int]] = {}
            for key in flying:
                if self.dice.random() < 0.3:
                    routes.setdefault(key, [0, 0, 0])[2 if self.dice.random() < 0.08 else 1] += 1
            for key, (_, ok, failed) in routes.items():
                for _ in range(ok + failed):
                    flying.remove(key)
            well = [v for v in self.views.values() if v.health.state == "healthy" and v.enabled]
            for _ in range(int(self.rate / 4) + (self.dice.random() < self.rate / 4 % 1)):
                view = well[int(len(well) * self.dice.random() ** 2.2)]
                key = (view.id, view.models[int(len(view.models) * self.dice.random() ** 2)])
                routes.setdefault(key, [0, 0, 0])[0] += 1
                flying.append(key)
            if routes:
                self.flow(*(RouteTraffic(backend=b, model=m, started=s, ok=o, failed=f, in_flight=flying.count((b, m)))
                            for (b, m), (s, o, f) in routes.items()))  # fmt: skip

    async def _refresh(self) -> None:
        total = len(self.views)
        for done in range(total + 1):
            self.publish(lambda seq, done=done: RefreshEvent(seq=seq, id="r1", done=done, total=total))  # type: ignore[misc]
            await asyncio.sleep(0.08)

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
        self.seen.append((method, target, body))
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
        elif path.startswith("/mesh") and locked:
            self._answer(
                writer, 401, b'{"error":{"message":"No key.","code":"no_key","hint":""}}', "application/json"
            )
        elif path.startswith("/mesh"):
            status, data = await self._mesh(method, path, body)
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

    async def _mesh(self, method: str, path: str, body: bytes) -> tuple[int, object]:
        parts = path.split("/")[2:]
        if parts == ["snapshot"]:
            return 200, self.snapshot()
        if parts == ["refresh"]:
            self._tasks.append(asyncio.create_task(self._refresh()))
            return 202, {"id": "r1", "total": len(self.views)}
        if parts == ["route"]:
            routes = [
                {"backend": v.id, "name": v.name, "why": f"{v.ring}, {v.health.state}, nothing in flight"}
                for v in list(self.views.values())[:3]
            ]
            return 200, {"policy": "local-first", "answers": routes[0]["backend"], "routes": routes}
        if parts == ["backends"] and method == "POST":
            sent = msgspec.json.decode(body)
            if "refuse" in sent["url"] and not sent.get("save_anyway"):
                return 422, {
                    "error": {
                        "message": "Connection refused at refuse:1. Is Ollama running?",
                        "code": "check_failed",
                        "hint": "Is Ollama running?",
                    }
                }
            view = BackendView(id="new-1", name=sent.get("name") or "new one", kind=sent["kind"], ring=sent.get("ring", "machine"), url=sent["url"],
                               enabled=True, source="config", health=health("healthy", sent["url"]), latency_ms=3.0, models=("tiny-1b",),
                               in_flight=0, requests=Work())  # fmt: skip
            self.put(view)
            return 201, view
        if parts[:1] == ["backends"] and len(parts) >= 2 and parts[1] in self.views:
            view = self.views[parts[1]]
            if method == "DELETE":
                self.remove(view.id)
                return 200, {}
            if parts[-1] in {"enable", "disable"}:
                self.put(replace(view, enabled=parts[-1] == "enable"))
                return 200, self.views[view.id]
            if parts[-1] == "check":
                return 200, {
                    "ok": view.health.state == "healthy",
                    "health": view.health,
                    "latency_ms": view.latency_ms,
                    "models": view.models,
                }
            if method == "PATCH":
                self.put(
                    replace(
                        view,
                        **{
                            k: v for k, v in msgspec.json.decode(body).items() if k in {"name", "url", "ring"}
                        },
                    )
                )
                return 200, self.views[view.id]
        if parts == ["history"]:
            return 200, {"step_s": 5, "backends": {}, "incidents": []}
        return 404, {"error": {"message": "No such thing.", "code": "not_found", "hint": ""}}

    async def _events(self, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self.listeners.add(queue)
        try:
            writer.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-store\r\nconnection: close\r\n\r\n"
            )
            first = self.snapshot()
            writer.write(
                f"id: {first.seq}\nevent: snapshot\ndata: ".encode() + msgspec.json.encode(first) + b"\n\n"
            )
            while True:
                writer.write(await queue.get())
                await writer.drain()
        finally:
            self.listeners.discard(queue)

    @staticmethod
    def _answer(writer: asyncio.StreamWriter, status: int, body: bytes, kind: str, extra: str = "") -> None:
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{extra}"
                     f"content-security-policy: {POLICY}\r\ncache-control: no-store\r\n\r\n".encode() + body)  # fmt: skip


async def _main(args: argparse.Namespace) -> None:
    stand = Stand(mesh(args.backends, args.models) if args.backends else [], args.rate)
    stand.port = args.port
    await stand.start()
    print(stand.url, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--backends", type=int, default=10)
    words.add_argument("--models", type=int, default=60)
    words.add_argument("--rate", type=float, default=6.0, help="requests a second")
    words.add_argument("--port", type=int, default=0, help="0 takes a free one")
    asyncio.run(_main(words.parse_args()))
