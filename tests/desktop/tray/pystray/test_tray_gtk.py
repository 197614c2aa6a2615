"""pystray's own way to the panel, with the distribution's GTK: the choice after D-Bus alone."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from shutil import which

import pytest
from PIL import Image

from desktop.panel import Icon, Panel
from desktop.session import SessionBus
from meshlight.desktop.tray.icon import icon as drawn
from meshlight.desktop.window.system_gtk import use_system_gtk
from meshlight.domain.snapshot import Light

PROGRAM = Path(__file__).parent / "shown_by_pystray.py"
LIGHTS: tuple[Light, ...] = ("green", "amber", "red", "grey")
INDICATOR = "girepository-1.0/AyatanaAppIndicator3-0.1.typelib"
NEEDED = ("Xvfb", "dbus-daemon")

if (
    sys.platform != "linux"
    or not all(map(which, NEEDED))
    or not any(Path("/usr").glob(f"lib*/**/{INDICATOR}"))
    or not use_system_gtk()
):
    pytest.skip(
        "needs GTK and AyatanaAppIndicator3 for this Python, Xvfb and dbus-daemon", allow_module_level=True
    )

from desktop.screen import Screen  # noqa: E402 - Xlib is for Linux


class Shown:
    """The program, and its icon in the panel."""

    def __init__(self, process: Process, icon: Icon) -> None:
        self.process, self.icon = process, icon

    async def read_line(self) -> str:
        """The next line it says."""
        assert self.process.stdout is not None
        async with asyncio.timeout(10):
            return (await self.process.stdout.readline()).decode().strip()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    async def until_it_shows(self, light: Light) -> None:
        """Wait for a state's picture: it comes as the name of a file, and GTK may tell of an earlier one late."""
        wanted = drawn(light, 64).tobytes()
        while True:
            self.icon.forget()
            with (
                contextlib.suppress(FileNotFoundError),
                Image.open(await self.icon.get("IconName")) as picture,
            ):
                if picture.convert("RGBA").tobytes() == wanted:
                    return
            await self.icon.until_signal("NewIcon")

    async def press(self, *labels: str) -> None:
        """Press a line of the menu, which GTK may give another number while it builds it."""
        async with asyncio.timeout(10):
            while True:
                try:
                    return await self.icon.press(*labels)
                except AssertionError as refusal:
                    if "does not refer to a menu item" not in str(refusal):
                        raise


@pytest.fixture
async def shown(tmp_path: Path) -> AsyncIterator[Shown]:
    with Screen() as screen, SessionBus(tmp_path) as bus:
        async with Panel(bus.address) as panel:
            there = {
                **os.environ,
                "DISPLAY": screen.name,
                "DBUS_SESSION_BUS_ADDRESS": bus.address,
                "NO_AT_BRIDGE": "1",  # nobody reads the screen aloud here
                "PYTHONPATH": str(PROGRAM.parents[3]),
            }
            process = await asyncio.create_subprocess_exec(
                sys.executable, str(PROGRAM), "appindicator", stdin=PIPE, stdout=PIPE, env=there
            )
            try:
                yield Shown(process, await panel.icon())
            finally:
                if process.returncode is None:
                    process.kill()
                await process.communicate()


async def test_it_shows_each_state_takes_clicks_and_ends_by_the_menu_s_word(shown: Shown) -> None:
    assert await shown.read_line() == "ready"
    for light in LIGHTS:
        shown.tell(light)
        await shown.until_it_shows(light)
    assert await shown.icon.get("Title") == "Meshlight: 1 of 5 down: Big box — refused, is it running?"
    assert (await shown.icon.menu()).find("Start at login").checked is True
    for path, text in (
        (("Refresh now",), "refresh"),
        (("Open mesh",), "open"),
        (("Backends", "● Ollama", "Disable"), "disable ollama-11434"),
        (("Quit",), "quit"),
    ):
        await shown.press(*path)
        assert await shown.read_line() == text
    shown.tell("stop")
    assert await shown.read_line() == "ended"
    assert await shown.process.wait() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_is_not_taken_over_by_gtk(shown: Shown, number: signal.Signals) -> None:
    assert await shown.read_line() == "ready"
    shown.tell("red")
    await shown.until_it_shows("red")
    shown.process.send_signal(number)
    assert await shown.read_line() == number.name
    assert await shown.read_line() == "ended"
    assert await shown.process.wait() == 0
