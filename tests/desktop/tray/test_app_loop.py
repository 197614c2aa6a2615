import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from api_client.local_api import LocalApi
from desktop.fake_tray import Hand
from desktop.neighbours import BO, around, pairing
from desktop.samples import backend, mesh
from meshlight.desktop.supervisor import Backoff, ServiceStatus, Supervisor
from meshlight.desktop.system.autostart import DesktopEntry
from meshlight.desktop.system.json_file import JsonFile
from meshlight.desktop.system.process import program
from meshlight.desktop.tray.app import TrayApp
from meshlight.desktop.tray.notifications import Notification
from meshlight.desktop.tray.state import Preferences, TrayEnvironment
from meshlight.desktop.tray.tray_icon import OnAction
from meshlight.desktop.window.launcher import WindowLauncher
from meshlight.domain.api_types import HealthChange
from meshlight.domain.errors import SecretError
from meshlight.domain.events import HealthEvent, PeersEvent, RefreshEvent
from process_fixture import Home, wait_until

AT_ONCE = Backoff(first_s=0.02, longest_s=0.05)
FAILING = [sys.executable, "-S", "-c", "import sys; sys.exit('Disk full.')"]


class Desktop:
    """What the tray meets on a machine, and what it did there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copied: list[str] = []
        self.notes: list[Notification] = []
        self.ports: list[int] = []
        self.preferences = JsonFile(folder / "tray.json", Preferences)
        self.login = DesktopEntry(folder / "autostart", ["meshlight"])
        self.windows = folder / "windows"
        self.key: Callable[[], str] = lambda: "ml-key"
        self.now = 1000.0

    def _key(self) -> str:
        return self.key()

    def show(self, runtime_file: Path, words: list[str], environ: dict[str, str] | None = None) -> "Shown":
        hands: list[Hand] = []

        def face(on_action: OnAction) -> Hand:
            hands.append(Hand(on_action))
            return hands[0]

        def supervisor(on_change: Callable[[ServiceStatus], None]) -> Supervisor:
            return Supervisor(
                words, runtime_file, on_change, rule=AT_ONCE, environ=environ or dict(os.environ)
            )

        def copy(text: str) -> bool:
            self.copied.append(text)
            return text != "ml-refused"

        def notify(note: Notification) -> bool:
            self.notes.append(note)
            return True

        desk = TrayEnvironment(
            runtime_file=runtime_file,
            copy=copy,
            key=self._key,
            environment=lambda url: f"export OPENAI_BASE_URL='{url}/v1'",
            free_port=lambda port: port + 1,
            keep_port=self.ports.append,
            show_log=lambda: False,
            notify=notify,
            time_in=lambda _: "14:05",
            clock=lambda: self.now,
        )
        opened = f"import sys; open({str(self.windows)!r}, 'a').write(' '.join(sys.argv[1:]) + ';')"
        window = WindowLauncher([sys.executable, "-S", "-c", opened], self.folder)
        tray = TrayApp(face, supervisor, window, desk, self.login, self.preferences)
        return Shown(tray, hands[0])


class Shown:
    """A tray that runs."""

    def __init__(self, tray: TrayApp, hand: Hand) -> None:
        self.tray, self.hand = tray, hand
        self.thread = threading.Thread(target=tray.run)
        self.thread.start()

    def end(self) -> None:
        self.tray.quit()
        self.thread.join(20)


@pytest.fixture
def desktop(tmp_path: Path) -> Desktop:
    desk = Desktop(tmp_path)
    desk.preferences.write(Preferences(was_started=True))
    return desk


@pytest.fixture
def shown(api: LocalApi, desktop: Desktop) -> Iterator[Hand]:
    """The tray attached to a service that a test speaks for."""
    api.says("GET", "/mesh/snapshot", mesh(backend("box"), backend("gpu")))
    api.says("GET", "/mesh/settings", {"paused": False})
    api.send(mesh(backend("box"), backend("gpu")))
    running = desktop.show(api.runtime_file, FAILING)
    running.hand.until(lambda hand: hand.light == "green")
    yield running.hand
    running.end()


def test_the_light_changes_with_the_event_and_the_whole_mesh_is_asked_for_once(
    api: LocalApi, shown: Hand
) -> None:
    ill = backend("gpu", state="unhealthy")
    api.says("GET", "/mesh/snapshot", mesh(backend("box"), ill, light="amber", seq=8))
    change = HealthChange(id="gpu", enabled=True, health=ill.health, latency_ms=None)
    api.send(HealthEvent(seq=8, backends=(change,)))
    shown.until(lambda hand: hand.light == "amber")
    assert "gpu" in shown.tooltip
    asked = len(api.asked)
    api.send(
        HealthEvent(
            seq=9,
            backends=(HealthChange(id="box", enabled=True, health=backend("box").health, latency_ms=480.0),),
        )
    )
    shown.until(lambda hand: "500 ms" in str(hand.items) or "450 ms" in str(hand.items))
    assert len(api.asked) == asked  # a number alone needs no question


def test_a_refresh_shows_its_progress_and_then_how_it_went(
    api: LocalApi, desktop: Desktop, shown: Hand
) -> None:
    go = threading.Event()

    def slow() -> object:
        go.wait(20)
        return {"id": "r", "done": 2, "total": 2}

    api.says("POST", "/mesh/refresh?wait=true", slow)
    shown.press("refresh")
    shown.until(lambda hand: hand.says("Refreshing"))
    api.send(RefreshEvent(seq=10, id="r", done=1, total=2))
    shown.until(lambda hand: hand.says("Refreshing… 1/2"))
    go.set()
    shown.until(lambda hand: hand.says("Refreshed: 2 of 2 healthy"))
    desktop.now += 7.0
    api.send(mesh(backend("box"), seq=11))
    shown.until(lambda hand: hand.says("Refresh now"))


def test_a_refresh_that_fails_says_why(api: LocalApi, shown: Hand) -> None:
    api.fails("POST", "/mesh/refresh?wait=true", 503, "x", "It hangs.")
    shown.press("refresh")
    shown.until(lambda hand: hand.says("Refresh failed: It hangs."))


def test_backends_are_switched_and_checked_and_an_error_is_told(
    api: LocalApi, desktop: Desktop, shown: Hand
) -> None:
    api.says("POST", "/mesh/backends/box/disable", backend("box", enabled=False))
    api.says("POST", "/mesh/backends/gpu/check", {"ok": True, "health": backend("gpu").health})
    shown.press("disable", "box")
    shown.press("check", "gpu")
    paths = {"/mesh/backends/box/disable", "/mesh/backends/gpu/check"}
    wait_until(lambda: paths <= {asked.path for asked in api.asked})
    api.fails("POST", "/mesh/backends/gpu/disable", 409, "conflict", "It is being changed.", "Try again.")
    shown.press("disable", "gpu")
    wait_until(lambda: desktop.notes == [Notification("It is being changed.", "Try again.")])


def test_address_key_and_environment_are_copied(api: LocalApi, desktop: Desktop, shown: Hand) -> None:
    for verb in ("copy-address", "copy-key", "copy-environment"):
        had = len(desktop.copied)
        shown.press(verb)
        wait_until(partial(_has_more, desktop.copied, had))
    assert desktop.copied == [f"{api.url}/v1", "ml-key", f"export OPENAI_BASE_URL='{api.url}/v1'"]


def _has_more(things: list[str], than: int) -> bool:
    return len(things) > than


def test_routing_is_paused_where_the_service_knows_of_it(api: LocalApi, shown: Hand) -> None:
    api.says("PATCH", "/mesh/settings", {})
    shown.until(lambda hand: hand.says("Pause routing"))
    shown.press("pause")
    wait_until(lambda: ("PATCH", {"paused": True}) in [(asked.method, asked.body) for asked in api.asked])


def test_a_service_that_does_not_know_of_pausing_is_not_asked_to(api: LocalApi, desktop: Desktop) -> None:
    api.says("GET", "/mesh/settings", {"require_key": True})
    running = desktop.show(api.runtime_file, FAILING)
    running.hand.until(lambda hand: hand.says("Copy API address"))
    wait_until(lambda: any(asked.path == "/mesh/settings" for asked in api.asked))
    running.end()
    assert not running.hand.says("Pause routing")


def test_what_can_not_be_copied_or_read_is_told(desktop: Desktop, shown: Hand) -> None:
    desktop.key = lambda: "ml-refused"
    shown.press("copy-key")
    wait_until(lambda: len(desktop.notes) == 1)
    assert "clipboard" in desktop.notes[0].title

    def broken() -> str:
        raise SecretError("refused", "The key file belongs to another user.", "Remove it.")

    desktop.key = broken
    shown.press("copy-key")
    wait_until(lambda: Notification("The key file belongs to another user.", "Remove it.") in desktop.notes)
    shown.press("log")
    wait_until(lambda: len(desktop.notes) == 3)


def test_start_at_login_and_notifications_are_switched_and_remembered(desktop: Desktop, shown: Hand) -> None:
    shown.press("login-on")
    shown.until(lambda hand: [i.checked for i in hand.items if i.key == "login"] == [True])
    assert desktop.login.is_on
    shown.press("snooze")
    shown.until(lambda hand: hand.says("Wake notifications (silent until 14:05)"))
    shown.press("wake")
    shown.until(lambda hand: hand.says("Snooze notifications"))
    shown.press("notify-off")
    shown.until(lambda hand: [i.checked for i in hand.items if i.key == "notify"] == [False])
    assert desktop.preferences.read() == Preferences(notifications=False, was_started=True)


def test_a_backend_that_stays_down_is_notified(api: LocalApi, desktop: Desktop, shown: Hand) -> None:
    ill = mesh(backend("box"), backend("gpu", state="unhealthy"), light="amber", seq=20)
    api.send(ill)
    shown.until(lambda hand: hand.light == "amber")
    assert desktop.notes == []
    desktop.now += 11.0
    api.send(mesh(backend("box", latency_ms=99.0), backend("gpu", state="unhealthy"), light="amber", seq=21))
    wait_until(lambda: len(desktop.notes) == 1)
    assert desktop.notes[0].title == "gpu is down"


def test_the_first_start_opens_the_window_and_later_ones_do_not(tmp_path: Path, api: LocalApi) -> None:
    desktop = Desktop(tmp_path)
    for _ in range(2):
        running = desktop.show(api.runtime_file, FAILING)
        running.hand.until(lambda hand: hand.says("Copy API address"))
        wait_until(desktop.windows.exists)
        running.end()
        api.end_events()
    assert desktop.windows.read_text() == ";"


def test_open_shows_the_node_and_so_does_a_second_start(desktop: Desktop, shown: Hand) -> None:
    shown.press("open", "gpu")
    wait_until(lambda: desktop.windows.exists() and desktop.windows.read_text() == "--node gpu;")


def test_a_service_that_can_not_live_is_red_with_the_reason_and_a_way_to_restart(desktop: Desktop) -> None:
    running = desktop.show(desktop.folder / "runtime.json", FAILING)
    running.hand.until(lambda hand: hand.says("Restart the service"))
    assert running.hand.light == "red"
    assert "Service stopped" in running.hand.tooltip
    assert "Disk full." in running.hand.tooltip
    running.hand.press("restart")
    running.hand.until(lambda hand: hand.lights.count("red") >= 2)
    running.end()


def test_where_a_stranger_has_the_port_another_one_is_offered_and_used_from_then_on(desktop: Desktop) -> None:
    said = "Port 6400 is taken by X. Stop it."
    taken = f"import sys; sys.exit(None if sys.argv[1:] == ['--port', '6401'] else {said!r})"
    running = desktop.show(desktop.folder / "runtime.json", [sys.executable, "-S", "-c", taken])
    running.hand.until(lambda hand: hand.says("Use port 6401 from now on"))
    assert running.hand.light == "red"
    assert running.hand.tooltip == said
    running.hand.press("move")
    running.hand.until(lambda hand: not hand.says("Use port"))
    assert desktop.ports == [6401]
    running.end()


@pytest.mark.skipif(sys.platform == "win32", reason="killed by a POSIX signal")
def test_a_killed_service_is_red_and_then_well_again_and_quit_ends_it(desktop: Desktop) -> None:
    home = Home(desktop.folder)
    running = desktop.show(home.runtime_file, program("serve", "--quiet"), home.environ)
    running.hand.until(lambda hand: "No backend" in hand.tooltip)
    os.kill(home.runtime.pid, signal.SIGKILL)
    running.hand.until(lambda hand: hand.light == "red")
    running.hand.until(lambda hand: "No backend" in hand.tooltip)
    running.end()
    assert not home.runtime_file.exists()


def test_one_who_asks_to_be_paired_is_told_at_once_and_once_and_a_click_opens_the_answer(
    api: LocalApi, shown: Hand, desktop: Desktop
) -> None:
    asked = pairing(role="asked", name="Bo", id=BO)
    api.send(PeersEvent(seq=8, peers=around(visible=True, pairing=asked)))
    shown.until(lambda hand: hand.says("! Bo asks to be paired: 123 456"))
    wait_until(lambda: bool(desktop.notes))
    later = around(visible=True, pairing=pairing(role="asked", name="Bo", id=BO, left_s=40.0))
    api.send(PeersEvent(seq=9, peers=later))
    api.send(PeersEvent(seq=10, peers=around()))
    shown.until(lambda hand: not hand.says("! Bo"))
    [note] = desktop.notes
    assert note.title == "Bo asks to be paired: 123 456"
    assert note.on_click is not None
    note.on_click()
    wait_until(desktop.windows.exists)
    wait_until(lambda: desktop.windows.read_text() == "--node peers?;")


def test_who_wants_no_notifications_sees_the_request_in_the_menu_alone(
    api: LocalApi, shown: Hand, desktop: Desktop
) -> None:
    api.send(PeersEvent(seq=8, peers=around()))
    shown.until(lambda hand: hand.says("Peers"))
    shown.press("notify-off")
    shown.until(lambda hand: any(item.key == "notify" and not item.checked for item in hand.items))
    api.send(PeersEvent(seq=9, peers=around(pairing=pairing(role="asked"))))
    shown.until(lambda hand: hand.says("! Eva asks to be paired"))
    assert desktop.notes == []


def test_the_machine_is_shown_and_hidden_from_the_menu(api: LocalApi, shown: Hand) -> None:
    api.says("PATCH", "/mesh/peers", around(visible=True))
    api.send(PeersEvent(seq=8, peers=around()))
    shown.until(lambda hand: hand.says("Peers"))
    shown.press("show-here")
    wait_until(lambda: api.asked[-1].body == {"visible": True})
    api.send(PeersEvent(seq=9, peers=around(visible=True)))
    shown.until(lambda hand: "hide-here" in str(hand.items))
