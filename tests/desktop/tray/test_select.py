import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from shutil import which

import pytest

from desktop.panel import Panel
from desktop.session import SessionBus
from meshlight.desktop.tray.interface import TrayIcon
from meshlight.desktop.tray.menu_items import Action
from meshlight.desktop.tray.select import NoTrayHost, choose_tray

needs_bus = pytest.mark.skipif(
    sys.platform != "linux" or which("dbus-daemon") is None, reason="needs a session bus"
)


def ignore(_: Action) -> None:
    pass


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[SessionBus]:
    with SessionBus(tmp_path) as running:
        yield running


def at(bus: SessionBus, **more: str) -> dict[str, str]:
    """A Wayland session, which has no old system tray that could be taken instead."""
    return {"DBUS_SESSION_BUS_ADDRESS": bus.address, "WAYLAND_DISPLAY": "wayland-0", **more}


def reason(tray: TrayIcon | NoTrayHost) -> str:
    assert isinstance(tray, NoTrayHost)
    assert "\n" not in tray.reason
    return tray.reason


def test_without_a_display_there_is_no_tray_and_it_says_so() -> None:
    text = reason(choose_tray(ignore, environment={}, platform="linux"))
    assert text == "There is no display here, so there is no tray icon."


def test_over_ssh_there_is_no_tray_on_somebody_else_s_screen() -> None:
    there = {"WAYLAND_DISPLAY": "wayland-0", "SSH_CONNECTION": "10.0.0.1 5000 10.0.0.2 22"}
    assert "SSH" in reason(choose_tray(ignore, environment=there, platform="linux"))


def test_without_a_session_bus_there_is_no_tray() -> None:
    text = reason(choose_tray(ignore, environment={"WAYLAND_DISPLAY": "wayland-0"}, platform="linux"))
    assert "session bus" in text


@needs_bus
def test_a_desktop_without_a_panel_for_icons_is_told_what_it_lacks(bus: SessionBus) -> None:
    text = reason(choose_tray(ignore, environment=at(bus), platform="linux"))
    assert "StatusNotifierWatcher" in text
    assert "GNOME" in text


@needs_bus
async def test_a_desktop_with_a_panel_is_spoken_to_over_the_bus(bus: SessionBus) -> None:
    async with Panel(bus.address):
        tray = await asyncio.to_thread(choose_tray, ignore, environment=at(bus), platform="linux")
    assert not isinstance(tray, NoTrayHost)
    assert tray.name == "D-Bus"


@needs_bus
async def test_right_after_login_the_panel_is_waited_for(bus: SessionBus) -> None:
    async with asyncio.TaskGroup() as tasks:
        choice = tasks.create_task(
            asyncio.to_thread(choose_tray, ignore, wait_s=30.0, environment=at(bus), platform="linux")
        )
        async with Panel(bus.address):
            tray = await choice
    assert not isinstance(tray, NoTrayHost)


@needs_bus
def test_patience_has_an_end(bus: SessionBus) -> None:
    tray = choose_tray(ignore, wait_s=0.05, environment=at(bus), platform="linux")
    assert isinstance(tray, NoTrayHost)


@needs_bus
def test_a_bus_that_has_gone_is_told(bus: SessionBus) -> None:
    bus.end()
    text = reason(choose_tray(ignore, environment=at(bus), platform="linux"))
    assert text.startswith("The session bus doesn't answer, so there is no tray icon: ")


@needs_bus
async def test_the_way_over_the_bus_can_be_asked_for_without_a_display(bus: SessionBus) -> None:
    there = {"DBUS_SESSION_BUS_ADDRESS": bus.address, "MESHLIGHT_TRAY": "dbus"}
    async with Panel(bus.address):
        tray = await asyncio.to_thread(choose_tray, ignore, environment=there, platform="linux")
    assert not isinstance(tray, NoTrayHost)


def test_the_tray_can_be_switched_off() -> None:
    assert "MESHLIGHT_TRAY" in reason(choose_tray(ignore, environment={"MESHLIGHT_TRAY": "none"}))


def test_a_way_that_does_not_exist_is_refused_with_those_that_do() -> None:
    text = reason(choose_tray(ignore, environment={"MESHLIGHT_TRAY": "kde"}))
    assert "'kde'" in text
    assert "dbus" in text
    assert "xorg" in text


@pytest.mark.skipif(sys.platform != "linux", reason="where these toolkits are there")
@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_a_toolkit_that_can_not_be_loaded_is_told_in_one_line(platform: str) -> None:
    text = reason(choose_tray(ignore, environment={}, platform=platform))
    assert text.startswith("No tray icon can be shown here: ")
