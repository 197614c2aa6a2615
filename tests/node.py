"""A complete Meshlight node in the test's own event loop, on a free port, with a folder of its own."""

import asyncio
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import httpx

from meshlight.backends.kinds import ring_for
from meshlight.desktop.system.autostart import DesktopEntry
from meshlight.desktop.system.login import LoginHere
from meshlight.domain.backend import Kind
from meshlight.domain.config import HOST
from meshlight.gateway.server.listener import bind
from meshlight.service.wiring import Service
from meshlight.storage.config.file import ConfigFile
from meshlight.storage.local_key import LocalKey
from meshlight.storage.paths import Paths

WAIT_S = 30.0
LANE = True
"""Whether nodes answer ordinary requests in the lane (`--lane off`); some tests of faults try both each time."""
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""What clients of http addresses check certificates with: nothing. httpx reads all authorities for each client."""
IN_ORDER = 'routing.policy = "priority"'


class Server(Protocol):
    """What a node needs to know about a backend; most are simulated engines."""

    name: str

    @property
    def kind(self) -> Kind: ...

    @property
    def url(self) -> str: ...


class Node:
    """`async with Node(tmp_path, [engine]) as node:` is a running service with these backends, all checked once.

    `http` is a client with the local key; `url` is where it listens. Engines are backends under their names; with
    `IN_ORDER` as `extra`, requests try them in the order given. A folder that has a configuration already keeps it,
    as after a restart; with `port`, it listens where it did. With `discovery`, `ports` are scanned for engines.
    """

    def __init__(
        self,
        home: Path,
        engines: Sequence[Server] = (),
        extra: str = "",
        *,
        discovery: bool = False,
        ports: Sequence[int] = (),
        ping_s: float = 15.0,
        beat_s: float = 10.0,
        port: int = 0,
        insecure_storage: bool = True,
    ) -> None:
        self._paths = Paths.under(config_dir=home, state_dir=home, log_dir=home)
        self._engines = engines
        # A test's node does not browse the machine's network, unless the test is about that.
        self._extra = extra if "[lan]" in extra or "lan." in extra else f"{extra}\n[lan]\nbrowse = false\n"
        self._extra = self._extra if LANE else f"lane = false\n{self._extra}"
        # Nor does it look for models on the machine's disks.
        self._extra += "" if "[local]" in extra else "\n[local]\nenabled = false\n"
        self._discovery = discovery
        self._ports: dict[int, tuple[Kind, ...]] = dict.fromkeys(ports, ())
        self._ping_s = ping_s
        self._beat_s = beat_s
        self._port = port
        self._insecure_storage = insecure_storage
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self.service: Service
        self.http: httpx.AsyncClient
        self.key = ""

    @property
    def url(self) -> str:
        return self.service.url

    @property
    def config_file(self) -> Path:
        return self._paths.config_file

    async def __aenter__(self) -> Self:
        self._paths.prepare()
        entries = [
            f'[[backends]]\nid = "{engine.name}"\nname = "{engine.name}"\nkind = "{engine.kind}"\n'
            f'url = "{engine.url}"\npriority = {place}\n'
            for place, engine in enumerate(self._engines)
        ]
        if not self._paths.config_file.exists():
            self._paths.config_file.write_text(self._extra + "\n" + "\n".join(entries), encoding="utf-8")
        file = ConfigFile(self._paths.config_file, ring_for)
        _, error = file.load_or_last_good()
        key = LocalKey.open(self._paths.key_file, {})
        self.key = key.reveal()
        self.service = Service(
            self._paths,
            file,
            error,
            key,
            [bind(HOST, self._port)],
            allows_discovery=self._discovery,
            insecure_storage=self._insecure_storage,
            environ={},
            ports=self._ports,
            ping_s=self._ping_s,
            beat_s=self._beat_s,
            login=lambda: LoginHere(
                DesktopEntry(self._paths.state_dir / "autostart", ["meshlight"]),
                None,
                environ={},
                has_screen=True,
            ),
        )
        ready = asyncio.Event()
        self._running = asyncio.create_task(self.service.run(self._stop, ready.set))
        await asyncio.wait_for(ready.wait(), WAIT_S)
        self.http = httpx.AsyncClient(
            base_url=self.url,
            headers={"authorization": f"Bearer {self.key}"},
            trust_env=False,
            timeout=WAIT_S,
            verify=PLAIN,
        )
        await self.refresh()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.http.aclose()
        self._stop.set()
        if self._running is not None:
            await self._running

    async def refresh(self) -> None:
        """Have every backend probed, and wait until that is done."""
        response = await self.http.post("/mesh/refresh?wait=true")
        assert response.is_success, response.text

    async def chat(self, model: str = "llama-3.2-3b", **fields: Any) -> httpx.Response:
        """Send a short chat request."""
        body = {"model": model, "messages": [{"role": "user", "content": "hi"}], **fields}
        return await self.http.post("/v1/chat/completions", json=body)

    async def backend(self, name: str) -> dict[str, Any]:
        """Return one backend as the snapshot shows it."""
        response = await self.http.get(f"/mesh/backends/{name}")
        found: dict[str, Any] = response.json()
        return found

    async def until(self, name: str, state: str, within_s: float = WAIT_S) -> dict[str, Any]:
        """Wait, by the event stream, until a backend is in `state`; return it."""
        return await self.until_so(name, lambda found: found["health"]["state"] == state, within_s)

    async def until_so(
        self, name: str, is_so: Callable[[dict[str, Any]], bool], within_s: float = WAIT_S
    ) -> dict[str, Any]:
        """Wait, by the event stream, until something is so of a backend; return it."""
        async with asyncio.timeout(within_s):
            async with self.http.stream("GET", "/mesh/events", timeout=within_s) as events:
                async for _ in events.aiter_lines():
                    found = await self.backend(name)
                    if is_so(found):
                        return found
        raise AssertionError(f"{name} did not become so")
