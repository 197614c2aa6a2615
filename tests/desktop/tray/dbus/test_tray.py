import asyncio
import os
import queue
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from shutil import which

import pytest
from msgspec.structs import replace

from desktop.panel import MENU, Icon, Panel
from desktop.samples import backend, hostile, mesh, scenario
from desktop.session import SessionBus
from meshlight.desktop.tray.icon import PAINTS
from meshlight.desktop.tray.menu import menu
from meshlight.desktop.tray.menu_items import Action
from meshlight.desktop.tray.state import Refresh, TrayState
from meshlight.desktop.tray.tooltip import light_of, tooltip
from meshlight.domain.api_types import SnapshotView
from meshlight.domain.snapshot import Light

if sys.platform != "linux" or which("dbus-daemon") is None:
    pytest.skip("needs a session bus", allow_module_level=True)

from dbus_fast import Variant

from meshlight.desktop.tray.dbus.tray import DBusTray

RUNNING = TrayState(service="running", url="http://127.0.0.1:6374", starts_at_login=False, notifies=True)
RUNNING_WITH_REFRESH = replace(RUNNING, refresh=Refresh(done=2, total=5))
LIGHTS: tuple[Light, ...] = ("green", "amber", "red", "grey")


class Tray(DBusTray):
    """The face in a thread of its own, and what was clicked."""

    def __init__(self, address: str) -> None:
        self.clicked: queue.SimpleQueue[Action] = queue.SimpleQueue()
        super().__init__(self.clicked.put, address)
        self.ready = threading.Event()
        self.lost: str | None = None
        self._thread = threading.Thread(target=self._run_to_end)

    def _run_to_end(self) -> None:
        self.lost = self.run(self.ready.set)

    def start(self) -> None:
        self._thread.start()

    def show(self, view: SnapshotView | None, state: TrayState = RUNNING) -> None:
        self.set_icon(light_of(view, state))
        self.set_tooltip(tooltip(view, state))
        self.set_menu(menu(view, state))

    async def click(self) -> Action:
        """The next thing that was clicked."""
        return await asyncio.to_thread(self.clicked.get, timeout=10)

    async def end(self) -> str | None:
        self.stop()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join, 10)
            assert not self._thread.is_alive()
        return self.lost

    async def wait_for_its_end(self) -> str | None:
        await asyncio.to_thread(self._thread.join, 10)
        return self.lost


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[SessionBus]:
    with SessionBus(tmp_path) as running:
        yield running


@pytest.fixture
async def panel(bus: SessionBus) -> AsyncIterator[Panel]:
    async with Panel(bus.address) as running:
        yield running


@pytest.fixture
async def tray(bus: SessionBus) -> AsyncIterator[Tray]:
    face = Tray(bus.address)
    yield face
    await face.end()


async def shown(tray: Tray, panel: Panel, view: SnapshotView, state: TrayState = RUNNING) -> Icon:
    tray.show(view, state)
    tray.start()
    return await panel.icon()


async def test_the_icon_comes_into_the_panel_under_a_name_of_its_own(tray: Tray, panel: Panel) -> None:
    icon = await shown(tray, panel, scenario())
    assert icon.name == f"org.kde.StatusNotifierItem-{os.getpid()}-1"
    assert await icon.get("Id") == "meshlight"
    assert await icon.get("Category") == "ApplicationStatus"
    assert await asyncio.to_thread(tray.ready.wait, 10)


@pytest.mark.parametrize("size", [16, 22, 24, 32, 48, 64])
async def test_each_state_has_its_colour_in_every_size(tray: Tray, panel: Panel, size: int) -> None:
    icon = await shown(tray, panel, mesh(light="grey"))
    in_the_ring = (max(1, round(size / 20)) + 1) / size
    spots = {"green": (0.5, 0.85), "amber": (0.3, 0.82), "red": (0.5, 0.17), "grey": (0.5, in_the_ring)}
    for light in LIGHTS:
        icon.forget()
        tray.set_icon(light)
        await icon.until_signal("NewIcon")
        *colour, alpha = await icon.pixel(size, *spots[light])
        wanted = bytes.fromhex(PAINTS[light].fill[1:])
        assert alpha == 255
        assert max(abs(a - b) for a, b in zip(colour, wanted, strict=True)) < 30


async def test_the_tooltip_says_state_and_reason(tray: Tray, panel: Panel) -> None:
    icon = await shown(tray, panel, scenario())
    assert await icon.tooltip() == ("Meshlight", "1 of 5 down: Big box — refused, is it running?")


async def test_a_stranger_s_name_is_no_markup_in_the_tooltip(tray: Tray, panel: Panel) -> None:
    nasty = "<img src=http://evil.example/x.png>&amp;"
    icon = await shown(tray, panel, mesh(backend("a", name=nasty, state="unhealthy"), light="red"))
    assert not set("<>&") & set((await icon.tooltip())[1])


async def test_the_panel_is_told_only_of_what_changed(tray: Tray, panel: Panel) -> None:
    icon = await shown(tray, panel, scenario())
    tray.show(scenario())
    tray.set_tooltip("Another line.")
    await icon.until_signal("NewToolTip")
    assert icon.signals == ["NewToolTip"]


async def test_red_asks_for_attention_and_green_gives_it_back(tray: Tray, panel: Panel) -> None:
    icon = await shown(tray, panel, mesh(backend("a")))
    assert await icon.get("Status") == "Active"
    tray.set_icon("red")
    await icon.until_signal("NewStatus")
    assert await icon.get("Status") == "NeedsAttention"
    assert await icon.get("AttentionIconPixmap") == await icon.get("IconPixmap")
    tray.set_icon("green")
    await icon.until_signal("NewStatus", 2)
    assert await icon.get("Status") == "Active"


async def test_a_left_click_opens_the_mesh_and_a_middle_click_refreshes(tray: Tray, panel: Panel) -> None:
    icon = await shown(tray, panel, scenario())
    assert await icon.get("ItemIsMenu") is False
    await icon.left_click()
    await icon.middle_click()
    assert [await tray.click(), await tray.click()] == [Action("open"), Action("refresh")]


async def test_the_menu_is_read_and_pressed_over_the_bus(tray: Tray, panel: Panel) -> None:
    icon = await shown(tray, panel, scenario())
    lines = (await icon.menu()).lines
    assert [(line.label, line.is_separator) for line in lines] == [
        (item.text, item.is_separator) for item in menu(scenario(), RUNNING)
    ]
    for path, action in (
        (("Refresh now",), Action("refresh")),
        (("Open mesh",), Action("open")),
        (("Backends", "● Ollama", "Open in mesh"), Action("open", "ollama-11434")),
        (("Backends", "✖ Big box", "Check now"), Action("check", "big-box")),
        (("Backends", "- LM Studio", "Enable"), Action("enable", "lms")),
        (("Copy API key",), Action("copy-key")),
        (("Start at login",), Action("login-on")),
        (("Quit",), Action("quit")),
    ):
        await icon.press(*path)
        assert await tray.click() == action


async def test_what_a_click_brings_about_is_seen_in_the_menu(tray: Tray, panel: Panel) -> None:
    icon = await shown(tray, panel, scenario())
    await icon.press("Refresh now")
    assert await tray.click() == Action("refresh")
    revision = (await icon.ask_menu("GetLayout", "iias", 0, 0, []))[0]
    tray.set_menu(menu(scenario(), RUNNING_WITH_REFRESH))
    await icon.until_signal("ItemsPropertiesUpdated")
    line = (await icon.menu()).find("Refreshing… 2/5")
    assert not line.enabled
    assert "LayoutUpdated" not in icon.signals, "an open menu is changed in place"
    assert (await icon.ask_menu("GetLayout", "iias", 0, 0, []))[0] == revision


async def test_checkboxes_show_how_they_stand(tray: Tray, panel: Panel) -> None:
    icon = await shown(tray, panel, scenario())
    seen = await icon.menu()
    assert (seen.find("Start at login").checked, seen.find("Notifications").checked) == (False, True)
    assert seen.find("Quit").checked is None


async def test_a_backend_that_goes_leaves_the_menu(tray: Tray, panel: Panel) -> None:
    icon = await shown(tray, panel, mesh(backend("a"), backend("b")))
    gone = (await icon.menu()).find("Backends", "● a", "Check now").number
    tray.show(mesh(backend("b")))
    await icon.until_signal("LayoutUpdated")
    assert [line.label for line in (await icon.menu()).find("Backends").lines] == ["● b: healthy, 10 ms"]
    with pytest.raises(AssertionError, match=f"no line {gone}"):
        await icon.ask_menu("GetProperty", "is", gone, "label")
    assert await icon.ask_menu("AboutToShowGroup", "ai", [0, gone]) == [[], [gone]]


async def test_a_line_that_is_only_to_be_read_can_not_be_pressed(tray: Tray, panel: Panel) -> None:
    icon = await shown(tray, panel, scenario())
    line = (await icon.menu()).find("About", "Meshlight")
    assert not line.enabled
    await icon.ask_menu("Event", "isvu", line.number, "clicked", Variant("i", 0), 0)
    quit_ = (await icon.menu()).find("Quit").number
    clicks = [[line.number, "clicked", Variant("i", 0), 0], [quit_, "clicked", Variant("i", 0), 0]]
    unknown = [999_999, "clicked", Variant("i", 0), 0]
    assert await icon.ask_menu("EventGroup", "a(isvu)", [*clicks, unknown]) == [[999_999]]
    assert await tray.click() == Action("quit")
    assert tray.clicked.empty()


async def test_pointing_at_a_line_is_no_click(tray: Tray, panel: Panel) -> None:
    icon = await shown(tray, panel, scenario())
    number = (await icon.menu()).find("Quit").number
    for what in ("hovered", "opened", "closed"):
        await icon.ask_menu("Event", "isvu", number, what, Variant("i", 0), 0)
    await icon.press("Show log")
    assert await tray.click() == Action("log")


async def test_a_desktop_may_ask_for_a_part_of_the_menu(tray: Tray, panel: Panel) -> None:
    icon = await shown(tray, panel, scenario())
    _, (_, _, top) = await icon.ask_menu("GetLayout", "iias", 0, 1, ["label"])
    assert all(not child.value[2] for child in top), "one level deep"
    assert {name for child in top for name in child.value[1]} == {"label"}
    number = (await icon.menu()).find("Quit").number
    (lines,) = await icon.ask_menu("GetGroupProperties", "aias", [number, 999_999], ["label"])
    assert [(n, properties["label"].value) for n, properties in lines] == [(number, "Quit")]
    (all_lines,) = await icon.ask_menu("GetGroupProperties", "aias", [], [])
    assert len(all_lines) > 20
    (label,) = await icon.ask_menu("GetProperty", "is", number, "label")
    assert label.value == "Quit"
    assert [await icon.get(name, MENU, "/MenuBar") for name in ("Version", "Status", "TextDirection")] == [
        3, "normal", "ltr",
    ]  # fmt: skip


async def test_hostile_names_come_over_the_bus_as_plain_lines(tray: Tray, panel: Panel) -> None:
    icon = await shown(tray, panel, hostile())
    (line,) = (await icon.menu()).find("Backends").lines
    assert line.label.isprintable()


async def test_a_panel_that_starts_anew_gets_the_icon_again(bus: SessionBus, tray: Tray) -> None:
    async with Panel(bus.address) as first:
        before = await shown(tray, first, scenario())
    async with Panel(bus.address) as second:
        icon = await second.icon()
        assert icon.name == before.name
        await icon.press("Refresh now")
        assert await tray.click() == Action("refresh")
        await second.until(lambda: len(second.icons) == 1)


async def test_a_panel_that_comes_late_gets_the_icon_then(bus: SessionBus, tray: Tray) -> None:
    tray.show(scenario())
    tray.start()
    assert await asyncio.to_thread(tray.ready.wait, 10), "it does not wait for a panel to start its work"
    async with Panel(bus.address) as panel:
        await panel.icon()


async def test_a_panel_that_is_not_ready_yet_is_asked_again(bus: SessionBus, tray: Tray) -> None:
    async with Panel(bus.address, refusals=2) as panel:
        await shown(tray, panel, scenario())
        assert panel.refusals == 0


async def test_two_trays_do_not_get_into_each_other_s_way(bus: SessionBus, tray: Tray, panel: Panel) -> None:
    other = Tray(bus.address)
    try:
        await shown(tray, panel, scenario())
        await shown(other, panel, scenario())
        await panel.until(lambda: len(panel.icons) == 2)
        assert len({icon.name for icon in panel.icons}) == 2
    finally:
        await other.end()


async def test_quitting_takes_the_icon_out_of_the_panel(tray: Tray, panel: Panel) -> None:
    await shown(tray, panel, scenario())
    assert await tray.end() == ""
    await panel.until(lambda: not panel.icons)


async def test_a_tray_that_was_stopped_before_it_began_ends_at_once(tray: Tray, panel: Panel) -> None:
    tray.stop()
    tray.start()
    assert await tray.wait_for_its_end() == ""
    assert not panel.icons


async def test_the_end_of_the_session_is_told(bus: SessionBus, tray: Tray, panel: Panel) -> None:
    await shown(tray, panel, scenario())
    bus.end()
    lost = await tray.wait_for_its_end()
    assert lost is not None
    assert "session bus" in lost


async def test_a_bus_that_is_not_there_is_told(tmp_path: Path) -> None:
    face = Tray(f"unix:path={tmp_path}/nobody")
    face.start()
    lost = await face.wait_for_its_end()
    assert lost is not None
    assert lost.startswith("The session bus can't be used: ")
