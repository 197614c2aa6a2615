"""This machine's own models in the running tray: they follow events alone, and clicks reach the service."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from api_client.local_api import LocalApi
from desktop.fake_tray import FakeTray
from desktop.own_models import QWEN, download, failed, loaded, local, model
from desktop.samples import backend, mesh
from desktop.tray.test_app_loop import FAILING, Desktop
from meshlight.desktop.tray.notifications import Notification
from meshlight.desktop.tray.state import Preferences
from meshlight.domain.events import LocalEvent, TopologyEvent
from process_fixture import wait_until

HERE = backend("this-machine", name="This machine", kind="local")


@pytest.fixture
def desktop(tmp_path: Path) -> Desktop:
    found = Desktop(tmp_path)
    found.preferences.write(Preferences(was_started=True))
    return found


@pytest.fixture
def shown(api: LocalApi, desktop: Desktop) -> Iterator[FakeTray]:
    """The tray attached to a service with own models."""
    api.says("GET", "/mesh/snapshot", mesh(HERE))
    api.says("GET", "/mesh/settings", {"paused": False})
    api.says("GET", "/mesh/models", local(loaded("a")))
    api.send(mesh(HERE))
    running = desktop.show(api.runtime_file, FAILING)
    running.tray.until(lambda tray: "● a, 6.2 GB, idle 3 min" in lines(tray))
    running.tray.until(lambda tray: tray.says("Pause routing"))
    yield running.tray
    running.end()


def lines(tray: FakeTray) -> list[str]:
    return [line.text for item in tray.items if item.key == "local" for line in item.items]


def test_models_follow_their_events_and_time_without_another_question(
    api: LocalApi, desktop: Desktop, shown: FakeTray
) -> None:
    asked = len(api.asked)
    api.send(LocalEvent(seq=8, models=(model(QWEN, state="loading", progress=0.42),)))
    shown.until(lambda tray: "◐ Qwen3-8B-GGUF:Q4_K_M, loading 40 %" in lines(tray))
    desktop.now += 130.0
    api.send(LocalEvent(seq=9, models=(loaded(QWEN, idle_s=0.0),)))
    shown.until(lambda tray: "● Qwen3-8B-GGUF:Q4_K_M, 6.2 GB, just used" in lines(tray))
    api.send(LocalEvent(seq=10, removed=("a", QWEN)))
    shown.until(lambda tray: lines(tray) == [])
    assert len(api.asked) == asked


def test_a_click_loads_and_what_fails_is_told(api: LocalApi, desktop: Desktop, shown: FakeTray) -> None:
    api.says("POST", "/mesh/models/load", failed())
    api.send(LocalEvent(seq=8, models=(model(QWEN),)))
    shown.until(lambda tray: "Load" in lines(tray))
    shown.press("load", QWEN)
    wait_until(
        lambda: (
            desktop.notifications
            == [
                Notification(
                    "Qwen3-8B-GGUF:Q4_K_M could not be loaded.", "The file is incomplete. Download it again."
                )
            ]
        )
    )


def test_memory_is_freed_by_a_click(api: LocalApi, shown: FakeTray) -> None:
    api.says("POST", "/mesh/models/unload", model("a"))
    shown.press("free-memory")
    wait_until(lambda: api.asked[-1].body == {"model": "a", "force": False})


def test_a_download_that_is_over_is_told_once(api: LocalApi, desktop: Desktop, shown: FakeTray) -> None:
    api.send(LocalEvent(seq=8, downloads=(download(),)))
    shown.until(lambda tray: "↓ Qwen3-4B-GGUF:Q4_K_M, 48 %" in lines(tray))
    for seq in (9, 10):
        api.send(LocalEvent(seq=seq, downloads=(download(state="done"),)))
    wait_until(lambda: bool(desktop.notifications))
    shown.until(lambda tray: not [text for text in lines(tray) if text.startswith("↓")])
    assert [one.title for one in desktop.notifications] == ["Qwen3-4B-GGUF:Q4_K_M is here."]


def test_own_models_that_are_switched_off_and_on_leave_and_return(api: LocalApi, shown: FakeTray) -> None:
    api.says("GET", "/mesh/models", local(enabled=False), local(loaded("b")))
    api.send(TopologyEvent(seq=8, backends=(), removed=("this-machine",)))
    shown.until(lambda tray: lines(tray) == [])
    api.send(TopologyEvent(seq=9, backends=(HERE,)))
    shown.until(lambda tray: "● b, 6.2 GB, idle 3 min" in lines(tray))
    assert [one.path for one in api.asked].count("/mesh/models") == 3
