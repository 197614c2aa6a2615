"""A local network of several machines on one: a network namespace for each, joined by a switch in one of its own.

Nothing of it is in the machine's own network: the cables are made inside the switch's namespace. It needs root and
Linux; elsewhere the test is skipped, and a run that allows no skipped test says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx
import pytest

from netns.inside import connect, namespaced_client, socket_in

NETWORK = "10.77.0"
NETWORK6 = "fd77:6d65:7368::"
FOLDER = Path("/run/netns")
PREFIX = "meshlight-test"
STOP_S = 10.0


@cache
def obstacle() -> str:
    """Return why namespaces can't be made here; empty where they can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "making network namespaces needs root: run these tests with sudo"
    if shutil.which("ip") is None:
        return "no `ip` on this machine: sudo apt-get install iproute2"
    name = f"{PREFIX}-{os.getpid()}-try"
    try:
        _ip("netns", "add", name)
        try:
            _ip("-n", name, "link", "add", "name", "br0", "type", "bridge")
        finally:
            _ip("netns", "del", name)
    except subprocess.CalledProcessError as error:
        return f"this system makes no network namespaces: {error.stderr.strip()}"
    return ""


class Machine:
    """One machine of the network, with a home of its own. `address` and `address6` are where others reach it."""

    def __init__(self, name: str, namespace: str, number: int, home: Path) -> None:
        self.name = name
        self.namespace = namespace
        self.home = home
        self.address = f"{NETWORK}.{number}"
        self.address6 = f"{NETWORK6}{number}"
        self._running: dict[asyncio.subprocess.Process, asyncio.Task[None]] = {}
        self._lines: list[str] = []
        self._news = asyncio.Event()

    async def run(
        self, argv: Sequence[str], env: Mapping[str, str] | None = None
    ) -> asyncio.subprocess.Process:
        """Start a program here: stdin and stdout are pipes, stderr is kept for `said`. It ends with the network.

        MESHLIGHT_HOME is this machine's home. A first word `meshlight` is the one under test.
        """
        words = [sys.executable, "-m", "meshlight", *argv[1:]] if argv[0] == "meshlight" else list(argv)
        process = await asyncio.create_subprocess_exec(
            *(*self._entering(), *words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "MESHLIGHT_HOME": str(self.home), **(env or {})},
        )
        self._running[process] = asyncio.create_task(self._listen(process))
        return process

    def _entering(self) -> Sequence[str]:
        """Return the words that make what follows them run here."""
        return "ip", "netns", "exec", self.namespace

    async def serve(self, *words: str, env: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
        """Start `meshlight serve` and wait until it listens; then `api` asks it."""
        earlier = self.said().count("listens at")
        process = await self.run(["meshlight", "serve", *words], env)
        await self.until_said("listens at", times=earlier + 1)
        return process

    def api(self) -> httpx.AsyncClient:
        """Return a client of this machine's own service, with its local key."""
        key = (self.home / "local.key").read_text(encoding="ascii").strip()
        return self.http(6374, {"authorization": f"Bearer {key}"})

    def said(self) -> str:
        """Return what its programs said on stderr so far."""
        return "".join(self._lines)

    async def until_said(self, words: str, within_s: float = 45.0, *, times: int = 1) -> None:
        """Wait until its programs have said this on stderr, so many times in all."""
        try:
            async with asyncio.timeout(within_s):
                while self.said().count(words) < times:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            pytest.fail(f"{self.name} did not say {words!r} within {within_s} s, but: {self.said()}")

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None
        while line := await process.stderr.readline():
            self._lines.append(line.decode(errors="replace"))
            self._news.set()

    def ip(self, *words: str) -> str:
        """Run `ip` on this machine; returns what it prints."""
        return _ip("-n", self.namespace, *words)

    async def link(self, *, up: bool) -> None:
        """Plug the cable in or out, as the system sees it: the interface goes down and loses its IPv6 addresses."""
        if up:
            await asyncio.to_thread(self.wire)
        else:
            await asyncio.to_thread(self.ip, "link", "set", "eth0", "down")

    def wire(self) -> None:
        """Give the interface its addresses and switch it on."""
        self.ip("link", "set", "lo", "up")
        self.ip("link", "set", "eth0", "up")
        self.ip("addr", "replace", f"{self.address}/24", "dev", "eth0")
        self.ip("addr", "replace", f"{self.address6}/64", "dev", "eth0", "nodad")
        self.ip("route", "replace", "224.0.0.0/4", "dev", "eth0")

    async def readdress(self, number: int) -> None:
        """Give it another address, as a DHCP server might."""
        await asyncio.to_thread(self.ip, "addr", "flush", "dev", "eth0", "scope", "global")
        self.address, self.address6 = f"{NETWORK}.{number}", f"{NETWORK6}{number}"
        await asyncio.to_thread(self.wire)

    def socket(self, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """Return a socket of this machine's network, which it stays; not blocking."""
        return socket_in(FOLDER / self.namespace, family, kind)

    async def connect(
        self, port: int, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection from this machine. Raises OSError."""
        return await connect(FOLDER / self.namespace, host, port, tls)

    def http(
        self,
        port: int,
        headers: Mapping[str, str] | None = None,
        *,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        timeout_s: float = 30.0,
    ) -> httpx.AsyncClient:
        """Return a client whose requests leave from this machine: to itself, or to `host`; https with `tls`."""
        name = f"[{host}]" if ":" in host else host
        return namespaced_client(
            FOLDER / self.namespace,
            base_url=f"{'https' if tls else 'http'}://{name}:{port}",
            headers=headers,
            tls=tls,
            timeout_s=timeout_s,
        )

    async def stop(self) -> None:
        """End its programs: SIGTERM, then SIGKILL after ten seconds."""
        for process in self._running:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.terminate()
        for process, listening in self._running.items():
            try:
                await asyncio.wait_for(process.wait(), STOP_S)
            except TimeoutError:
                process.kill()
                await process.wait()
            await asyncio.wait((listening,), timeout=1)  # a child of its own may hold the pipe
            listening.cancel()
            _close_pipes(process)
        self._running.clear()


class Lan:
    """`async with Lan(["a", "b"]) as lan:` is a network on which `lan["a"]` and `lan["b"]` are machines.

    It leaves nothing: programs, namespaces and homes go with it, also those of a run that was killed.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._tag = f"{PREFIX}-{os.getpid()}-{secrets.token_hex(2)}"
        self._switch = f"{self._tag}-switch"
        self._homes = tempfile.TemporaryDirectory(prefix="meshlight-lan-", ignore_cleanup_errors=True)
        self._machines: dict[str, Machine] = {}

    def __getitem__(self, name: str) -> Machine:
        return self._machines[name]

    def __iter__(self) -> Iterator[Machine]:
        return iter(self._machines.values())

    async def __aenter__(self) -> Self:
        if obstacle():
            self._homes.cleanup()
            pytest.skip(obstacle())
        _sweep()
        try:
            await asyncio.to_thread(self._build)
        except BaseException:
            await asyncio.to_thread(self._tear_down)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for machine in self:
            await machine.stop()
            if kind is not None and machine.said():
                print(f"── {machine.name} said ──\n{machine.said()}")
        await asyncio.to_thread(self._tear_down)

    def _build(self) -> None:
        _ip("netns", "add", self._switch)
        # Snooping would hold multicast back until a querier has spoken, and there is none here.
        _ip("-n", self._switch, "link", "add", "name", "br0", "type", "bridge", "mcast_snooping", "0")
        _ip("-n", self._switch, "link", "set", "br0", "up")
        for number, name in enumerate(self._names, start=1):
            home = Path(self._homes.name) / name
            home.mkdir()
            machine = Machine(name, f"{self._tag}-{name}", number, home)
            _ip("netns", "add", machine.namespace)
            self._machines[name] = machine
            port = f"port{number}"
            cable = ("type", "veth", "peer", "name", "eth0", "netns", machine.namespace)
            _ip("-n", self._switch, "link", "add", "name", port, *cable)
            _ip("-n", self._switch, "link", "set", port, "master", "br0", "up")
            machine.wire()

    def _tear_down(self) -> None:
        for namespace in (*(machine.namespace for machine in self), self._switch):
            if (FOLDER / namespace).exists():
                _ip("netns", "del", namespace)
        self._homes.cleanup()


def _sweep() -> None:
    """Remove the namespaces of test runs that live no more."""
    for file in FOLDER.glob(f"{PREFIX}-*") if FOLDER.is_dir() else ():
        pid = file.name.removeprefix(f"{PREFIX}-").partition("-")[0]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists():
            _ip("netns", "del", file.name)


def _ip(*words: str) -> str:
    """Run `ip`. Raises CalledProcessError with its words in `stderr`."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=True, timeout=10)
    return done.stdout


def _close_pipes(process: asyncio.subprocess.Process) -> None:
    if process.stdin is not None:
        process.stdin.close()
    transport: asyncio.SubprocessTransport = process._transport  # type: ignore[attr-defined]
    transport.close()
