import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from msgspec.structs import replace

from api_client.local_api import LocalApi
from desktop.fake_tray import FakeTray
from desktop.neighbours import BO, around, pairing
from desktop.samples import backend, mesh
from meshlight.desktop.supervisor import Backoff, ServiceStatus, Supervisor
from meshlight.desktop.system.autostart import DesktopEntry
from meshlight.desktop.system.instance_signal import QUIT
from meshlight.desktop.system.json_file import JsonFile
from meshlight.desktop.system.process import program
from meshlight.desktop.tray.app import TrayApp
from meshlight.desktop.tray.interface import OnAction
from meshlight.desktop.tray.notifications import Notification
from meshlight.desktop.tray.state import Preferences, TrayEnvironment
from meshlight.desktop.window.launcher import WindowLauncher
from meshlight.domain.api_types import HealthChange
from meshlight.domain.errors import SecretError
from meshlight.domain.events import HealthEvent, PeersEvent, RefreshEvent, SettingsEvent, SignInRequestEvent
from meshlight.domain.settings_views import UpdateView
from process_fixture import Home, wait_until
from web.fake_settings import FakeSettings

AT_ONCE = Backoff(first_s=0.02, longest_s=0.05)
FAILING = [sys.executable, "-S", "-c", "import sys; sys.exit('Disk full.')"]


class Desktop:
    """What the tray meets on a machine, and what it did there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.copied: list[str] = []
        self.notifications: list[Notification] = []
        self.ports: list[int] = []
        self.preferences = JsonFile(folder / "tray.json", Preferences)
        self.login = DesktopEntry(folder / "autostart", ["meshlight"])
        self.windows = folder / "windows"
        self.key: Callable[[], str] = lambda: "ml-key"
        self.now = 1000.0

    def _key(self) -> str:
        return self.key()

    def show(
        self, runtime_file: Path, command: list[str], environ: dict[str, str] | None = None
    ) -> "RunningTray":
        trays: list[FakeTray] = []

        def make_icon(on_action: OnAction) -> FakeTray:
            trays.append(FakeTray(on_action))
            return trays[0]

        def supervisor(on_change: Callable[[ServiceStatus], None]) -> Supervisor:
            return Supervisor(
                command, runtime_file, on_change, backoff=AT_ONCE, environ=environ or dict(os.environ)
            )

        def copy(text: str) -> bool:
            self.copied.append(text)
            return text != "ml-refused"

        def notify(notification: Notification) -> bool:
            self.notifications.append(notification)
            return True

        environment = TrayEnvironment(
            runtime_file=runtime_file,
            copy=copy,
            key=self._key,
            environment=lambda url: f"export OPENAI_BASE_URL='{url}/v1'",
            free_port=lambda port: port + 1,
            save_port=self.ports.append,
            show_log=lambda: False,
            notify=notify,
            time_in=lambda _: "14:05",
            clock=lambda: self.now,
        )
        opened = f"import sys; open({str(self.windows)!r}, 'a').write(' '.join(sys.argv[1:]) + ';')"
        window = WindowLauncher([sys.executable, "-S", "-c", opened], self.folder)
        app = TrayApp(make_icon, supervisor, window, environment, self.login, self.preferences)
        return RunningTray(app, trays[0])


class RunningTray:
    """A tray that runs."""

    def __init__(self, app: TrayApp, tray: FakeTray) -> None:
        self.app, self.tray = app, tray
        self.thread = threading.Thread(target=app.run)
        self.thread.start()

    def end(self) -> None:
        self.app.quit()
        self.thread.join(20)


@pytest.fixture
def desktop(tmp_path: Path) -> Desktop:
    found = Desktop(tmp_path)
    found.preferences.write(Preferences(was_started=True))
    return found


@pytest.fixture
def shown(api: LocalApi, desktop: Desktop) -> Iterator[FakeTray]:
    """The tray attached to a service that a test speaks for."""
    api.says("GET", "/mesh/snapshot", mesh(backend("box"), backend("gpu")))
    api.says("GET", "/mesh/settings", {"paused": False})
    api.says("PATCH", "/mesh/settings", FakeSettings().view)
    api.send(mesh(backend("box"), backend("gpu")))
    running = desktop.show(api.runtime_file, FAILING)
    running.tray.until(lambda tray: tray.light == "green")
    yield running.tray
    running.end()


def test_the_light_changes_with_the_event_and_the_whole_mesh_is_asked_for_once(
    api: LocalApi, shown: FakeTray
) -> None:
    unhealthy = backend("gpu", state="unhealthy")
    api.says("GET", "/mesh/snapshot", mesh(backend("box"), unhealthy, light="amber", seq=8))
    change = HealthChange(id="gpu", enabled=True, health=unhealthy.health, latency_ms=None)
    api.send(HealthEvent(seq=8, backends=(change,)))
    shown.until(lambda tray: tray.light == "amber")
    assert "gpu" in shown.tooltip
    asked = len(api.asked)
    api.send(
        HealthEvent(
            seq=9,
            backends=(HealthChange(id="box", enabled=True, health=backend("box").health, latency_ms=480.0),),
        )
    )
    shown.until(lambda tray: "500 ms" in str(tray.items) or "450 ms" in str(tray.items))
    assert len(api.asked) == asked  # a number alone needs no question


def test_a_refresh_shows_its_progress_and_then_how_it_went(
    api: LocalApi, desktop: Desktop, shown: FakeTray
) -> None:
    go = threading.Event()

    def slow() -> object:
        go.wait(20)
        return {"id": "r", "done": 2, "total": 2}

    api.says("POST", "/mesh/refresh?wait=true", slow)
    shown.press("refresh")
    shown.until(lambda tray: tray.says("Refreshing"))
    api.send(RefreshEvent(seq=10, id="r", done=1, total=2))
    shown.until(lambda tray: tray.says("Refreshing… 1/2"))
    go.set()
    shown.until(lambda tray: tray.says("Refreshed: 2 of 2 healthy"))
    desktop.now += 7.0
    api.send(mesh(backend("box"), seq=11))
    shown.until(lambda tray: tray.says("Refresh now"))


def test_refreshing_again_uses_the_connection_that_is_proven_already(
    api: LocalApi, desktop: Desktop, shown: FakeTray
) -> None:
    api.says("POST", "/mesh/refresh?wait=true", {"id": "r", "done": 2, "total": 2})
    shown.until(lambda tray: tray.says("Pause routing"))  # the tray has connected to read the settings
    proofs = api.proofs
    for seq in (11, 12, 13):
        shown.press("refresh")
        shown.until(lambda tray: tray.says("Refreshed: 2 of 2 healthy"))
        desktop.now += 7.0
        api.send(mesh(backend("box"), backend("gpu"), seq=seq))
        shown.until(lambda tray: tray.says("Refresh now"))
    refreshes = [asked.path for asked in api.asked if asked.path.startswith("/mesh/refresh")]
    assert refreshes == 3 * ["/mesh/refresh?wait=true"]
    assert api.proofs == proofs


def test_a_refresh_that_fails_says_why(api: LocalApi, shown: FakeTray) -> None:
    api.fails("POST", "/mesh/refresh?wait=true", 503, "x", "It hangs.")
    shown.press("refresh")
    shown.until(lambda tray: tray.says("Refresh failed: It hangs."))


def test_backends_are_switched_and_checked_and_an_error_is_told(
    api: LocalApi, desktop: Desktop, shown: FakeTray
) -> None:
    api.says("POST", "/mesh/backends/box/disable", backend("box", enabled=False))
    report = {
        "ok": True, "text": "", "fix": "", "health": backend("gpu").health, "latency_ms": 1.0, "models": []
    }  # fmt: skip
    api.says("POST", "/mesh/backends/gpu/check", report)
    shown.press("disable", "box")
    shown.press("check", "gpu")
    paths = {"/mesh/backends/box/disable", "/mesh/backends/gpu/check"}
    wait_until(lambda: paths <= {asked.path for asked in api.asked})
    api.fails("POST", "/mesh/backends/gpu/disable", 409, "conflict", "It is being changed.", "Try again.")
    shown.press("disable", "gpu")
    wait_until(lambda: desktop.notifications == [Notification("It is being changed.", "Try again.")])


def test_address_key_and_environment_are_copied(api: LocalApi, desktop: Desktop, shown: FakeTray) -> None:
    for verb in ("copy-address", "copy-key", "copy-environment"):
        had = len(desktop.copied)
        shown.press(verb)
        wait_until(partial(_has_more, desktop.copied, had))
    assert desktop.copied == [f"{api.url}/v1", "ml-key", f"export OPENAI_BASE_URL='{api.url}/v1'"]


def _has_more(things: list[str], than: int) -> bool:
    return len(things) > than


def test_routing_is_paused_where_the_service_knows_of_it(api: LocalApi, shown: FakeTray) -> None:
    api.says("PATCH", "/mesh/settings", {})
    shown.until(lambda tray: tray.says("Pause routing"))
    shown.press("pause")
    wait_until(lambda: ("PATCH", {"paused": True}) in [(asked.method, asked.body) for asked in api.asked])


def test_a_service_that_does_not_know_of_pausing_is_not_asked_to(api: LocalApi, desktop: Desktop) -> None:
    api.says("GET", "/mesh/settings", {"require_key": True})
    running = desktop.show(api.runtime_file, FAILING)
    running.tray.until(lambda tray: tray.says("Copy API address"))
    wait_until(lambda: any(asked.path == "/mesh/settings" for asked in api.asked))
    running.end()
    assert not running.tray.says("Pause routing")


def test_what_can_not_be_copied_or_read_is_told(desktop: Desktop, shown: FakeTray) -> None:
    desktop.key = lambda: "ml-refused"
    shown.press("copy-key")
    wait_until(lambda: len(desktop.notifications) == 1)
    assert "clipboard" in desktop.notifications[0].title

    def broken() -> str:
        raise SecretError("refused", "The key file belongs to another user.", "Remove it.")

    desktop.key = broken
    shown.press("copy-key")
    wait_until(
        lambda: Notification("The key file belongs to another user.", "Remove it.") in desktop.notifications
    )
    shown.press("log")
    wait_until(lambda: len(desktop.notifications) == 3)


def test_start_at_login_and_notifications_are_switched_and_remembered(
    desktop: Desktop, shown: FakeTray
) -> None:
    shown.press("login-on")
    shown.until(lambda tray: [i.checked for i in tray.items if i.key == "login"] == [True])
    assert desktop.login.is_on
    shown.press("snooze")
    shown.until(lambda tray: tray.says("End snooze (notifications are off until 14:05)"))
    shown.press("wake")
    shown.until(lambda tray: tray.says("Snooze notifications"))
    shown.press("notify-off")
    shown.until(lambda tray: [i.checked for i in tray.items if i.key == "notify"] == [False])
    assert desktop.preferences.read() == Preferences(notifications=False, was_started=True)


def test_a_backend_that_stays_down_is_notified(api: LocalApi, desktop: Desktop, shown: FakeTray) -> None:
    unhealthy = mesh(backend("box"), backend("gpu", state="unhealthy"), light="amber", seq=20)
    api.send(unhealthy)
    shown.until(lambda tray: tray.light == "amber")
    assert desktop.notifications == []
    desktop.now += 11.0
    api.send(mesh(backend("box", latency_ms=99.0), backend("gpu", state="unhealthy"), light="amber", seq=21))
    wait_until(lambda: len(desktop.notifications) == 1)
    assert desktop.notifications[0].title == "gpu is down"


def test_the_first_start_opens_the_window_and_later_ones_do_not(tmp_path: Path, api: LocalApi) -> None:
    desktop = Desktop(tmp_path)
    for _ in range(2):
        running = desktop.show(api.runtime_file, FAILING)
        running.tray.until(lambda tray: tray.says("Copy API address"))
        wait_until(desktop.windows.exists)
        running.end()
        api.end_events()
    assert desktop.windows.read_text() == ";"


def test_open_shows_the_node_and_so_does_a_second_start(desktop: Desktop, shown: FakeTray) -> None:
    shown.press("open", "gpu")
    wait_until(lambda: desktop.windows.exists() and desktop.windows.read_text() == "--node gpu;")


def test_a_service_that_can_not_live_is_red_with_the_reason_and_a_way_to_restart(desktop: Desktop) -> None:
    running = desktop.show(desktop.folder / "runtime.json", FAILING)
    running.tray.until(lambda tray: tray.says("Restart the service"))
    assert running.tray.light == "red"
    assert "Service stopped" in running.tray.tooltip
    assert "Disk full." in running.tray.tooltip
    running.tray.press("restart")
    running.tray.until(lambda tray: tray.lights.count("red") >= 2)
    running.end()


def test_where_a_stranger_has_the_port_another_one_is_offered_and_used_from_then_on(desktop: Desktop) -> None:
    last_line = "Port 6400 is taken by X. Stop it."
    taken = f"import sys; sys.exit(None if sys.argv[1:] == ['--port', '6401'] else {last_line!r})"
    running = desktop.show(desktop.folder / "runtime.json", [sys.executable, "-S", "-c", taken])
    running.tray.until(lambda tray: tray.says("Use port 6401 from now on"))
    assert running.tray.light == "red"
    assert running.tray.tooltip == last_line
    running.tray.press("move")
    running.tray.until(lambda tray: not tray.says("Use port"))
    assert desktop.ports == [6401]
    running.end()


@pytest.mark.skipif(sys.platform == "win32", reason="killed by a POSIX signal")
def test_a_killed_service_is_red_and_then_well_again_and_quit_ends_it(desktop: Desktop) -> None:
    home = Home(desktop.folder)
    running = desktop.show(home.runtime_file, program("serve", "--quiet"), home.environ)
    running.tray.until(lambda tray: "No backend" in tray.tooltip)
    os.kill(home.runtime.pid, signal.SIGKILL)
    running.tray.until(lambda tray: tray.light == "red")
    running.tray.until(lambda tray: "No backend" in tray.tooltip)
    running.end()
    assert not home.runtime_file.exists()


def test_meshlight_quit_ends_the_tray_and_its_service(desktop: Desktop) -> None:
    home = Home(desktop.folder)
    running = desktop.show(home.runtime_file, program("serve", "--quiet"), home.environ)
    running.tray.until(lambda tray: "No backend" in tray.tooltip)
    running.app.activate(QUIT)
    running.thread.join(20)
    assert not running.thread.is_alive()
    assert not home.runtime_file.exists()


def test_one_who_asks_to_be_paired_is_told_at_once_and_once_and_a_click_opens_the_answer(
    api: LocalApi, shown: FakeTray, desktop: Desktop
) -> None:
    asked = pairing(role="asked", name="Bo", id=BO)
    api.send(PeersEvent(seq=8, peers=around(visible=True, pairing=asked)))
    shown.until(lambda tray: tray.says("! Bo asks to pair: 123 456"))
    wait_until(lambda: bool(desktop.notifications))
    later = around(visible=True, pairing=pairing(role="asked", name="Bo", id=BO, left_s=40.0))
    api.send(PeersEvent(seq=9, peers=later))
    api.send(PeersEvent(seq=10, peers=around()))
    shown.until(lambda tray: not tray.says("! Bo"))
    [notification] = desktop.notifications
    assert notification.title == "Bo asks to pair: 123 456"
    assert notification.on_click is not None
    notification.on_click()
    wait_until(desktop.windows.exists)
    wait_until(lambda: desktop.windows.read_text() == "--node peers?;")


def test_who_wants_no_notifications_sees_the_request_in_the_menu_alone(
    api: LocalApi, shown: FakeTray, desktop: Desktop
) -> None:
    api.send(PeersEvent(seq=8, peers=around()))
    shown.until(lambda tray: tray.says("Peers"))
    shown.press("notify-off")
    shown.until(lambda tray: any(item.key == "notify" and not item.checked for item in tray.items))
    api.send(PeersEvent(seq=9, peers=around(pairing=pairing(role="asked"))))
    shown.until(lambda tray: tray.says("! Eva asks to pair"))
    assert desktop.notifications == []


def test_the_machine_is_shown_and_hidden_from_the_menu(api: LocalApi, shown: FakeTray) -> None:
    api.says("PATCH", "/mesh/peers", around(visible=True))
    api.send(PeersEvent(seq=8, peers=around()))
    shown.until(lambda tray: tray.says("Peers"))
    shown.press("show-here")
    wait_until(lambda: api.asked[-1].body == {"visible": True})
    api.send(PeersEvent(seq=9, peers=around(visible=True)))
    shown.until(lambda tray: "hide-here" in str(tray.items))


def test_a_browser_that_asks_is_notified_once_and_let_in_by_a_click(
    api: LocalApi, desktop: Desktop, shown: FakeTray
) -> None:
    api.says("POST", "/mesh/session/request/allow", {}, status=204)
    for _ in range(2):
        api.send(SignInRequestEvent(seq=11, code="4821", left_s=60.0))
    shown.until(lambda tray: tray.says("Let the browser in (code 4821)…"))
    wait_until(lambda: [each.title for each in desktop.notifications] == ["Let the browser in?"])
    [notification] = desktop.notifications
    assert notification.on_click is not None
    notification.on_click()
    wait_until(lambda: any(asked.path.endswith("/allow") for asked in api.asked))
    [asked] = [asked for asked in api.asked if asked.path.endswith("/allow")]
    assert asked.body == {"code": "4821"}
    api.send(SignInRequestEvent(seq=12, code="", left_s=0.0))
    shown.until(lambda tray: not tray.says("Let the browser in"))
    assert len(desktop.notifications) == 1


def test_the_tray_follows_the_settings_and_asks_once_where_keys_are_kept(
    api: LocalApi, desktop: Desktop, shown: FakeTray
) -> None:
    settings = FakeSettings().view
    api.says("GET", "/mesh/session/request", {"code": "", "left_s": 0})
    update = UpdateView(version="0.2.0", url="")
    for seq in (11, 12):
        asking = replace(settings, asks_key_storage=True, update=update)
        api.says("GET", "/mesh/settings", asking)
        api.send(SettingsEvent(seq=seq))
        shown.until(lambda tray: tray.says("! Choose where keys are kept…"))
    assert shown.says("Version 0.2.0 is out")
    wait_until(lambda: len(desktop.notifications) == 1)
    assert "file only you can read" in desktop.notifications[0].title
    api.says("GET", "/mesh/settings", replace(settings, notifications=False))
    api.send(SettingsEvent(seq=13))
    shown.until(lambda tray: not tray.says("! Choose"))
    wait_until(lambda: not desktop.preferences.read().notifications)


def test_switching_notifications_off_is_told_to_the_service(api: LocalApi, shown: FakeTray) -> None:
    api.says("PATCH", "/mesh/settings", FakeSettings().view)
    shown.press("notify-off")
    wait_until(lambda: any(asked.method == "PATCH" for asked in api.asked))
    [asked] = [asked for asked in api.asked if asked.method == "PATCH"]
    assert asked.body == {"notifications": False}
