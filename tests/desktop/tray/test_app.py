import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from desktop.panel import Icon, Panel
from desktop.session import SessionBus
from meshlight.simulator.engine import SimulatedEngine
from process_fixture import Home, is_alive, wait_until
from stopwatch import Stopwatch

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="plays a Linux desktop")

GREEN, AMBER, RED, GREY = "green", "amber", "red", "grey"
STARTED = '{"was_started": true}'


def backend(engine: SimulatedEngine) -> str:
    return f'[[backends]]\nname = "{engine.name}"\nkind = "{engine.kind}"\nurl = "{engine.url}"\nring = "machine"'


class Desktop:
    """A desktop with a panel, two engines, and a Meshlight that is set up for them."""

    def __init__(
        self, panel: Panel, address: str, engines: tuple[SimulatedEngine, SimulatedEngine], folder: Path
    ) -> None:
        self.panel = panel
        self.engines = engines
        self.home = Home(folder, *map(backend, engines))
        (folder / "tray.json").write_text(STARTED)
        # No display: what is not the tray's own (a window, the clipboard) stays away.
        self.environ = {"DBUS_SESSION_BUS_ADDRESS": address, "MESHLIGHT_TRAY": "dbus", "DISPLAY": ""}
        self.processes: list[subprocess.Popen[str]] = []

    def start(self, *words: str) -> subprocess.Popen[str]:
        process = self.home.start(*words, more=self.environ)
        self.processes.append(process)
        return process

    async def end(self) -> None:
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            await asyncio.to_thread(process.communicate, timeout=20)


@pytest.fixture
async def desktop(tmp_path: Path) -> AsyncIterator[Desktop]:
    async with AsyncExitStack() as stack:
        bus = stack.enter_context(SessionBus(tmp_path))
        engines = (
            await stack.enter_async_context(SimulatedEngine("llamacpp", "studio", control_port=None)),
            await stack.enter_async_context(SimulatedEngine("ollama", "box", control_port=None)),
        )
        panel = await stack.enter_async_context(Panel(bus.address))
        found = Desktop(panel, bus.address, engines, tmp_path / "home")
        stack.push_async_callback(found.end)
        yield found


def children(pid: int) -> list[list[str]]:
    """The command lines of a process's children."""
    pids = [
        child
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [Path(f"/proc/{child}/cmdline").read_text().strip("\0").split("\0") for child in pids]


async def until_tooltip(icon: Icon, condition: Callable[[str], bool], limit_s: float = 20.0) -> str:
    """Wait until the condition holds for the tooltip, and return it."""
    text = ""
    async with asyncio.timeout(limit_s):
        while True:
            title, text = await icon.tooltip()
            if condition(f"{title} {text}"):
                return f"{title} {text}"
            await asyncio.sleep(0.05)


async def test_the_icon_follows_the_engines_and_the_service_and_quit_leaves_no_process(
    desktop: Desktop,
) -> None:
    begun = time.monotonic()
    tray = desktop.start("tray")
    icon = await desktop.panel.icon()
    shown_s = time.monotonic() - begun
    await until_tooltip(icon, lambda text: "All 2 backends are healthy" in text)
    service = desktop.home.runtime.pid
    assert shown_s < 3.0  # 0.5 s on a machine that does nothing else

    await desktop.engines[1].fault("refuse")
    await icon.press("Refresh now")
    text = await until_tooltip(icon, lambda text: "1 of 2 down" in text)
    assert "box" in text

    await desktop.engines[1].clear()
    await icon.press("Refresh")  # "Refreshed: 1 of 2 healthy", for some seconds
    await until_tooltip(icon, lambda text: "All 2 backends" in text)

    stopwatch = Stopwatch()
    os.kill(service, signal.SIGKILL)
    await until_tooltip(icon, lambda text: "being restarted" in text)
    await until_tooltip(icon, lambda text: "All 2 backends" in text)
    assert desktop.home.answers()
    stopwatch.follow(desktop.home.runtime.pid)
    assert stopwatch.elapsed_s < 5.0  # /v1 answers earlier than the icon is green

    service = desktop.home.runtime.pid
    await icon.press("Backends", "● box", "Disable")
    await until_tooltip(icon, lambda text: "studio is healthy" in text)
    await icon.press("Quit")
    await asyncio.to_thread(tray.wait, 20)
    assert tray.returncode == 0
    assert not is_alive(service)
    assert not desktop.home.runtime_file.exists()
    await desktop.panel.until(lambda: not desktop.panel.icons)


async def test_a_killed_tray_takes_its_service_along(desktop: Desktop) -> None:
    tray = desktop.start("tray")
    await until_tooltip(await desktop.panel.icon(), lambda text: "All 2" in text)
    pid = desktop.home.runtime.pid
    tray.kill()
    assert await asyncio.to_thread(wait_until, lambda: not is_alive(pid), 3.0) < 3.0


async def test_quit_leaves_a_service_alone_that_ran_before(desktop: Desktop) -> None:
    service = desktop.start("serve", "--quiet")
    await asyncio.to_thread(wait_until, desktop.home.runtime_file.exists)
    tray = desktop.start("tray")
    icon = await desktop.panel.icon()
    await until_tooltip(icon, lambda text: "All 2" in text)
    await icon.press("Quit (the service keeps running)")
    await asyncio.to_thread(tray.wait, 20)
    assert service.poll() is None
    assert desktop.home.answers()


async def test_twenty_starts_at_once_make_one_tray_and_one_service(desktop: Desktop) -> None:
    starts = [desktop.start() for _ in range(20)]
    icon = await desktop.panel.icon()
    await until_tooltip(icon, lambda text: "All 2" in text, limit_s=40.0)

    def ended() -> list[int]:
        return [code for start in starts if (code := start.poll()) is not None]

    await asyncio.to_thread(wait_until, lambda: len(ended()) >= 19, 40.0)
    assert ended() == [0] * 19
    assert len(desktop.panel.icons) == 1
    [first] = [start for start in starts if start.poll() is None]
    assert [words[-2:] for words in children(first.pid) if "serve" in words] == [["serve", "--quiet"]]
