"""The tray: one thread that owns all state, told of everything by one queue, and a face that shows it."""

import queue
import threading
from collections.abc import Callable
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from meshlight.api_client.client import ApiClient
from meshlight.api_client.watcher import (
    FeedLost,
    FeedUpdate,
    PeersReceived,
    RefreshProgressed,
    SnapshotReceived,
    watch,
)
from meshlight.desktop.supervisor import ServiceState, ServiceStatus, Supervisor
from meshlight.desktop.system.autostart import Autostart
from meshlight.desktop.system.json_file import JsonFile
from meshlight.desktop.tray.menu import menu
from meshlight.desktop.tray.menu_items import Action
from meshlight.desktop.tray.notifications import BackendMark, Notification, NotificationQueue, marks_of
from meshlight.desktop.tray.peers_menu import SHOW, request, request_note
from meshlight.desktop.tray.state import Preferences, Refresh, Service, TrayEnvironment, TrayState
from meshlight.desktop.tray.tooltip import light_of, tooltip
from meshlight.desktop.tray.tray_icon import OnAction, TrayIcon
from meshlight.desktop.window.launcher import WindowLauncher
from meshlight.domain.api_types import SnapshotView
from meshlight.domain.errors import MeshlightError
from meshlight.domain.peers import PeersView

ICON_UPDATE_S: Final = 1.0
"""The service is started once the icon is there, but an icon that is slow doesn't hold it up for longer."""
SHOWN_S: Final = 6.0
"""For so long the menu shows how a refresh went."""
SNOOZE_S: Final = 3600.0

_SERVICE: Final[dict[ServiceState, Service]] = {
    "starting": "starting",
    "running": "running",
    "restarting": "down",
    "silent": "down",
    "port-taken": "stopped",
    "stopped": "stopped",
    "given-up": "stopped",
}


class Ready(Struct, frozen=True):
    """The icon is there."""


class ActivateRequested(Struct, frozen=True):
    """Somebody started Meshlight once more: show the window (with this node)."""

    node: str


class Refreshed(Struct, frozen=True):
    """A refresh that was asked for here is over; `error` says why it came to nothing."""

    error: str = ""


class CapabilitiesLearned(Struct, frozen=True):
    """What the service of this instance can do besides the usual."""

    instance: str
    can_pause: bool


TrayEvent = Ready | ActivateRequested | Action | ServiceStatus | FeedUpdate | CapabilitiesLearned | Refreshed


class TrayApp:
    """The tray's life: `run` on the main thread shows the icon, and everything else happens in one other thread."""

    def __init__(
        self,
        make_face: Callable[[OnAction], TrayIcon],
        supervisor: Callable[[Callable[[ServiceStatus], None]], Supervisor],
        window: WindowLauncher,
        desk: TrayEnvironment,
        autostart: Autostart | None,
        preferences: JsonFile[Preferences],
    ) -> None:
        self._window = window
        self._desk = desk
        self._autostart = autostart
        self._file = preferences
        self._kept = preferences.read()
        self._inbox: queue.SimpleQueue[TrayEvent] = queue.SimpleQueue()
        self._face = make_face(self._inbox.put)
        self._supervisor = supervisor(self._inbox.put)
        self._state = TrayState(
            can_pause=False,
            starts_at_login=None if autostart is None else autostart.is_on,
            notifies=self._kept.notifications,
        )
        self._view: SnapshotView | None = None
        self._instance = ""
        self._wanted: str | None = None
        """The node of a window that was asked for while the service was not there."""
        self._bulletin = NotificationQueue()
        self._snoozed_until: float | None = None
        self._shown_until: float | None = None
        self._thread = threading.Thread(target=self._live, name="tray", daemon=True)

    def run(self) -> str:
        """Show the tray until the user quits; return nothing then, or how the icon was lost."""
        self._show()
        self._thread.start()
        try:
            return self._face.run(lambda: self._inbox.put(Ready()))
        finally:
            self.quit()
            self._thread.join()

    def rung(self, node: str) -> None:
        """Show the window, because somebody started Meshlight once more."""
        self._inbox.put(ActivateRequested(node))

    def quit(self) -> None:
        """End in good order, as the menu's Quit does."""
        self._inbox.put(Action("quit"))

    def _live(self) -> None:
        news: TrayEvent | None = self._next(ICON_UPDATE_S)
        self._supervisor.start()
        if not self._kept.was_started:
            self._keep(replace(self._kept, was_started=True))
            self._inbox.put(ActivateRequested(""))
        while True:
            if isinstance(news, Action) and news.verb == "quit":
                break
            if news is not None:
                self._take(news)
            self._tend()
            self._show()
            news = self._next(self._rest_s())
        self._face.set_icon("grey")
        self._face.set_tooltip("Ending: requests that run are answered first.")
        self._window.close()
        self._supervisor.stop()
        self._face.stop()

    def _next(self, limit_s: float | None) -> TrayEvent | None:
        try:
            return self._inbox.get(timeout=limit_s)
        except queue.Empty:
            return None

    def _take(self, news: TrayEvent) -> None:
        """Change the state by one piece of news; `Ready` only wakes."""
        if (
            isinstance(news, SnapshotReceived | PeersReceived | FeedLost | CapabilitiesLearned)
            and news.instance != self._instance
        ):
            return  # of a service that is gone
        match news:
            case ServiceStatus():
                self._stand(news)
            case SnapshotReceived(_, view):
                self._view = view
            case PeersReceived(_, peers):
                self._look_around(peers)
            case RefreshProgressed(done, total):
                if self._state.refresh is not None and not self._state.refresh.is_over:
                    self._set(refresh=Refresh(done=done, total=total))
            case FeedLost():
                self._supervisor.look()
            case CapabilitiesLearned(_, can_pause):
                self._set(can_pause=can_pause)
            case Refreshed(error):
                self._set(refresh=Refresh(is_over=True, error=error))
                self._shown_until = self._desk.clock() + SHOWN_S
            case ActivateRequested(node):
                self._open(node)
            case Action():
                self._act(news)

    def _stand(self, standing: ServiceStatus) -> None:
        """Follow the service that runs now, or show why none does."""
        is_running = standing.state == "running"
        self._set(
            service=_SERVICE[standing.state],
            said="" if is_running else f"{standing.text} {standing.fix}".strip(),
            url=standing.url,
            owns_service=standing.is_ours,
            free_port=None if standing.port is None else self._desk.free_port(standing.port),
        )
        if not is_running:
            self._view, self._instance = None, ""
            self._set(refresh=None, peers=None)
            return
        if standing.instance != self._instance:
            self._view = None
            _in_thread(lambda: self._learn(standing.instance))
        self._instance = standing.instance
        watch(self._desk.runtime_file, standing.instance, self._inbox.put)
        if self._wanted is not None:
            self._window.open(self._wanted)
            self._wanted = None

    def _learn(self, instance: str) -> None:
        """Ask the service what its menu may offer."""
        try:
            with ApiClient.connect(self._desk.runtime_file) as service:
                self._inbox.put(CapabilitiesLearned(instance, service.can_pause()))
        except MeshlightError:
            return  # it has gone already, and the next one is asked again

    def _act(self, action: Action) -> None:
        """Do what a click asks for; whatever may take time happens in a thread of its own."""
        match action.verb:
            case "open":
                self._open(action.backend)
            case "refresh":
                self._refresh()
            case "check" | "enable" | "disable" | "pause" | "resume" | "show-here" | "hide-here":
                _in_thread(lambda: self._ask(action))
            case "copy-address" | "copy-key" | "copy-environment":
                url = self._state.url
                _in_thread(lambda: self._copy(action, url))
            case "login-on" | "login-off":
                self._switch_login(on=action.verb == "login-on")
            case "notify-on" | "notify-off":
                self._keep(replace(self._kept, notifications=action.verb == "notify-on"))
                self._set(notifies=self._kept.notifications)
            case "snooze" | "wake":
                is_silent = action.verb == "snooze"
                self._snoozed_until = self._desk.clock() + SNOOZE_S if is_silent else None
                self._set(snoozed_until=self._desk.time_in(SNOOZE_S) if is_silent else "")
            case "log":
                _in_thread(self._show_log)
            case "restart":
                self._supervisor.restart()
            case "move":
                self._move()
            case "quit":
                pass  # taken before

    def _look_around(self, peers: PeersView) -> None:
        """Take in who is around, and tell of one who asks to be paired: once, and at once, as it waits a minute."""
        before, asked = request(self._state.peers), request(peers)
        self._set(peers=peers)
        is_new = asked is not None and (before is None or before.digits != asked.digits)
        if asked is not None and is_new and not self._is_silent:
            note = replace(request_note(asked), on_click=lambda: self._inbox.put(SHOW))
            _in_thread(lambda: self._desk.notify(note))

    def _move(self) -> None:
        """Have the service listen at the port that was offered, from now on."""
        port = self._state.free_port
        if port is None:
            return
        try:
            self._desk.keep_port(port)
        except MeshlightError as error:
            self._tell(error.title, error.hint)  # it is used all the same, until Meshlight is quit
        self._supervisor.use_port(port)

    def _open(self, node: str) -> None:
        """Show the window now, or as soon as there is a service whose page it can show."""
        if self._state.service == "running":
            self._window.open(node)
        else:
            self._wanted = node

    def _refresh(self) -> None:
        """Begin a refresh, unless one that was asked for here is under way."""
        if self._state.refresh is not None and not self._state.refresh.is_over:
            return
        self._shown_until = None
        self._set(refresh=Refresh())

        def refresh() -> None:
            try:
                with ApiClient.connect(self._desk.runtime_file) as service:
                    service.refresh_now()
            except MeshlightError as error:
                self._inbox.put(Refreshed(error.title))
            else:
                self._inbox.put(Refreshed())

        _in_thread(refresh)

    def _ask(self, action: Action) -> None:
        """Have the service do something; what comes of it is seen by its events."""
        try:
            with ApiClient.connect(self._desk.runtime_file) as service:
                if action.verb == "check":
                    service.check(action.backend)
                elif action.verb in {"enable", "disable"}:
                    service.switch(action.backend, on=action.verb == "enable")
                elif action.verb in {"show-here", "hide-here"}:
                    service.set_visibility(visible=action.verb == "show-here")
                else:
                    service.pause(on=action.verb == "pause")
        except MeshlightError as error:
            self._tell(error.title, error.hint)

    def _copy(self, action: Action, url: str) -> None:
        try:
            if action.verb == "copy-address":
                text = f"{url}/v1"
            else:
                text = self._desk.key() if action.verb == "copy-key" else self._desk.environment(url)
        except MeshlightError as error:
            self._tell(error.title, error.hint)
            return
        if not self._desk.copy(text):
            self._tell("The clipboard can't be reached.", "In a terminal: meshlight env, or meshlight key")

    def _show_log(self) -> None:
        if not self._desk.show_log():
            self._tell(
                "The log could not be opened.", "`meshlight doctor` says where it is and what is wrong."
            )

    def _switch_login(self, *, on: bool) -> None:
        if self._autostart is None:
            return
        try:
            self._autostart.switch(on=on)
        except OSError as error:
            self._tell("Starting at login could not be switched.", error.strerror or str(error))
        self._set(starts_at_login=self._autostart.is_on)

    def _tell(self, title: str, body: str) -> None:
        """Answer a click that came to nothing, whether or not notifications are wanted."""
        _in_thread(lambda: self._desk.notify(Notification(title, body)))

    def _tend(self) -> None:
        """Do what the time is come for."""
        now = self._desk.clock()
        if self._shown_until is not None and now >= self._shown_until:
            self._shown_until = None
            self._set(refresh=None)
        if self._snoozed_until is not None and now >= self._snoozed_until:
            self._snoozed_until = None
            self._set(snoozed_until="")
        if self._state.service != "starting":
            self._bulletin.see(marks_of(self._view, service=self._service_mark()), now)
        note = self._bulletin.take(now, silent=self._is_silent)
        if note is not None:
            _in_thread(lambda: self._desk.notify(note))

    @property
    def _is_silent(self) -> bool:
        return not self._kept.notifications or self._snoozed_until is not None

    def _service_mark(self) -> BackendMark:
        state = self._state
        if state.service == "running":
            return BackendMark("Meshlight", "healthy")
        return BackendMark("Meshlight", "unhealthy", state.said)

    def _rest_s(self) -> float | None:
        """Seconds until there is something to tend to; None when only news can bring it."""
        waits = (self._shown_until, self._snoozed_until, self._bulletin.due_at)
        times = [at for at in waits if at is not None]
        return max(min(times) - self._desk.clock(), 0.01) if times else None

    def _show(self) -> None:
        """Show everything as it is; the face leaves alone what is the same."""
        self._face.set_icon(light_of(self._view, self._state))
        self._face.set_tooltip(tooltip(self._view, self._state))
        self._face.set_menu(menu(self._view, self._state))

    def _set(self, **changes: object) -> None:
        self._state = replace(self._state, **changes)

    def _keep(self, preferences: Preferences) -> None:
        self._kept = preferences
        self._file.write(preferences)


def _in_thread(work: Callable[[], object]) -> None:
    """Do something that may take its time in a thread of its own."""
    threading.Thread(target=work, name="tray work", daemon=True).start()
