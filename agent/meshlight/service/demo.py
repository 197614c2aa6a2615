"""The demo of the first run: simulated backends in a process of their own, listed for as long as it lives.

Nothing of it is saved. It ends when the user ends it, when its process dies, and with the service, on whose open pipe
its process depends: so also when the service is killed.
"""

import asyncio
import logging
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import msgspec
from msgspec import Struct

from meshlight.desktop.system.process import HOLDS_STDIN, detached_options, environment, program
from meshlight.domain.backend import Backend, Kind, Ring
from meshlight.domain.errors import MeshlightError
from meshlight.mesh.registry import Registry

log = logging.getLogger(__name__)

START_S = 30.0
END_S = 5.0
LINE_MAX = 65_536
"""Bytes of the line in which the process names its backends."""


class Listed(Struct, frozen=True):
    """A backend as the demo's process names it; the rest of the line is not used."""

    id: str
    name: str
    kind: Kind
    url: str
    ring: Ring


class Demo:
    """Starts and ends the demo's process (`command`), and lists its backends in the registry meanwhile.

    `check` probes a backend that was just listed, so that it answers once the demo has started.
    """

    def __init__(
        self,
        registry: Registry,
        check: Callable[[str], Awaitable[object]],
        command: Sequence[str] | None = None,
    ) -> None:
        self._registry = registry
        self._check = check
        self._command = program("demo", "--tour") if command is None else command
        self._lock = asyncio.Lock()
        self._process: Process | None = None
        self._watch: asyncio.Task[None] | None = None
        self._ids: tuple[str, ...] = ()

    @property
    def is_running(self) -> bool:
        """Whether its backends are listed."""
        return bool(self._ids)

    async def start(self) -> None:
        """Start it, if it does not run; raises MeshlightError if its process does not come up."""
        async with self._lock:
            if self._ids:
                return
            try:
                process = self._process = await asyncio.create_subprocess_exec(
                    *self._command,
                    stdin=PIPE,
                    stdout=PIPE,
                    stderr=DEVNULL,
                    env=environment(HOLDS_STDIN),
                    limit=LINE_MAX,
                    **detached_options(),
                )
                async with asyncio.timeout(START_S):
                    line = await process.stdout.readline() if process.stdout is not None else b""
                listed = msgspec.json.decode(line, type=tuple[Listed, ...])
            except (OSError, ValueError, msgspec.MsgspecError) as error:  # TimeoutError is an OSError
                await self._end_process()
                raise MeshlightError(
                    "The demo did not start.", "See whether it does in a terminal: meshlight demo"
                ) from error
            except asyncio.CancelledError:
                await asyncio.shield(self._end_process())
                raise
            self._ids = tuple(map(self._list, listed))
            self._watch = asyncio.create_task(self._follow(process))
            await asyncio.gather(*map(self._check, self._ids), return_exceptions=True)

    async def stop(self) -> None:
        """End it, and take its backends off the list."""
        async with self._lock:
            if self._watch is not None:
                self._watch.cancel()
            self._unlist()
            await self._end_process()

    def _list(self, one: Listed) -> str:
        """List a backend under an id that no other has; return it."""
        backend_id = one.id
        while backend_id in self._registry.snapshot.nodes:
            backend_id += "-2"
        self._registry.put(
            Backend(
                id=backend_id,
                name=one.name,
                kind=one.kind,
                ring=one.ring,
                url=one.url,
                source="demo",
                proxy="none",
            )
        )
        return backend_id

    async def _follow(self, process: Process) -> None:
        """Take the backends off the list if the process ends by itself."""
        code = await process.wait()
        log.warning("The demo has ended by itself (exit code %s).", code)
        self._unlist()

    def _unlist(self) -> None:
        ids, self._ids = self._ids, ()
        for backend_id in ids:
            node = self._registry.snapshot.nodes.get(backend_id)
            if (
                node is not None and node.backend.source == "demo"
            ):  # and not one of the same id in the configuration
                self._registry.remove(backend_id)

    async def _end_process(self) -> None:
        """Close the pipe that keeps it alive, and kill it if that is not enough."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await process.wait()
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
