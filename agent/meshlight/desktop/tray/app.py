"""The tray application: from a click or an event to the redrawn icon.

`run` shows the icon on the main thread and stays there, because toolkits demand it. All state belongs to one other
thread, which takes events from one queue: clicks (`Action`), the status of the service from the supervisor, updates
from the event feed (`watch`), and results of work that was done in threads of its own.

The life of a click: the icon puts an `Action` into the queue; `_on_action` starts what takes time in a worker
thread, which calls the local API by one shared, proven client; its result or the feed's next snapshot comes back
through the queue; `_handle` replaces the state; `_redraw` computes colour, tooltip and menu from it, and the icon
changes only what differs. Timers (snooze, the result of a refresh, notifications) only shorten the wait on the queue.
"""

import queue
import threading
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from meshlight.api_client.client import SharedClient
from meshlight.api_client.watcher import (
    FeedLost,
    FeedUpdate,
    LocalModelsReceived,
    PeersReceived,
    RefreshProgressed,
    SettingsReceived,
    SignInReceived,
    SnapshotReceived,
    watch,
)
from meshlight.desktop.supervisor import ServiceState, ServiceStatus, Supervisor
from meshlight.desktop.system.autostart import Autostart
from meshlight.desktop.system.instance_signal import QUIT
from meshlight.desktop.system.json_file import JsonFile
from meshlight.desktop.tray.interface import OnAction, TrayIcon
from meshlight.desktop.tray.local_actions import LOCAL_VERBS, LocalActions, download_text, ended_downloads
from meshlight.desktop.tray.local_menu import next_change_s
from meshlight.desktop.tray.menu import menu
from meshlight.desktop.tray.menu_items import Action
from meshlight.desktop.tray.notifications import Notification, NotificationQueue, WatchedState, watched_states
from meshlight.desktop.tray.peers_menu import OPEN_PEERS, pairing_request, request_notification
from meshlight.desktop.tray.settings_menu import CHOOSE_STORAGE, sign_in_notification, storage_notification
from meshlight.desktop.tray.state import Preferences, Refresh, ServicePhase, TrayEnvironment, TrayState
from meshlight.desktop.tray.tooltip import light_of, tooltip
from meshlight.desktop.window.launcher import WindowLauncher
from meshlight.domain.api_types import PendingSignIn, SnapshotView
from meshlight.domain.errors import MeshlightError
from meshlight.domain.local_views import LocalView
from meshlight.domain.peers import PeersView
from meshlight.domain.settings_views import SettingsView

ICON_WAIT_S: Final = 1.0
"""The service starts once the icon is there; a slow icon delays it by no more than this."""
REFRESH_SHOWN_S: Final = 6.0
"""How long the menu shows the result of a refresh."""
SNOOZE_S: Final = 3600.0

_SERVICE_STATES: Final[dict[ServiceState, ServicePhase]] = {
    "starting": "starting",
    "running": "running",
    "restarting": "down",
    "silent": "down",
    "port-taken": "stopped",
    "stopped": "stopped",
    "given-up": "stopped",
}


class Ready(Struct, frozen=True):
    """The icon is on the screen."""


class ActivateRequested(Struct, frozen=True):
    """Meshlight was started a second time: show the window, with this node selected."""

    node: str


class Refreshed(Struct, frozen=True):
    """A refresh that was started here has finished; `error` is empty, or says why it failed."""

    error: str = ""


class CapabilitiesFetched(Struct, frozen=True):
    """The optional features of the service with this instance id."""

    instance: str
    can_pause: bool


TrayEvent = Ready | ActivateRequested | Action | ServiceStatus | FeedUpdate | CapabilitiesFetched | Refreshed


class TrayApp:
    """Shows the tray icon (`run`, on the main thread) and handles everything else in a second thread.

    `make_icon` and `supervisor` each get the callback for their events; `autostart` is None where it is unsupported.
    """

    def __init__(
        self,
        make_icon: Callable[[OnAction], TrayIcon],
        supervisor: Callable[[Callable[[ServiceStatus], None]], Supervisor],
        window: WindowLauncher,
        environment: TrayEnvironment,
        autostart: Autostart | None,
        preferences: JsonFile[Preferences],
    ) -> None:
        self._client = SharedClient(environment.runtime_file)
        self._local_actions = LocalActions(self._client, self._notify)
        self._window = window
        self._environment = environment
        self._autostart = autostart
        self._preferences_file = preferences
        self._preferences = preferences.read()
        self._inbox: queue.SimpleQueue[TrayEvent] = queue.SimpleQueue()
        self._icon = make_icon(self._inbox.put)
        self._supervisor = supervisor(self._inbox.put)
        self._state = TrayState(
            can_pause=False,
            starts_at_login=None if autostart is None else autostart.is_on,
            notifies=self._preferences.notifications,
        )
        self._view: SnapshotView | None = None
        self._instance = ""
        self._requested_node: str | None = None
        """The node of a window that was requested while the service was not running; None if none was."""
        self._notifications = NotificationQueue()
        self._snoozed_until: float | None = None
        self._refresh_shown_until: float | None = None
        self._local_at = 0.0
        """When the view of this machine's own models was true."""
        self._thread = threading.Thread(target=self._run_loop, name="tray", daemon=True)

    def run(self) -> str:
        """Show the tray until the user quits and return ""; or return how the icon was lost."""
        self._redraw()
        self._thread.start()
        try:
            return self._icon.run(lambda: self._inbox.put(Ready()))
        finally:
            self.quit()
            self._thread.join()

    def activate(self, node: str) -> None:
        """Show the window, because Meshlight was started a second time; or quit, by `meshlight quit`."""
        if node == QUIT:
            self.quit()
            return
        self._inbox.put(ActivateRequested(node))

    def quit(self) -> None:
        """End gracefully, like Quit in the menu."""
        self._inbox.put(Action("quit"))

    def _run_loop(self) -> None:
        event: TrayEvent | None = self._next(ICON_WAIT_S)
        self._supervisor.start()
        if not self._preferences.was_started:
            self._save_preferences(replace(self._preferences, was_started=True))
            self._inbox.put(ActivateRequested(""))
        while True:
            if isinstance(event, Action) and event.verb == "quit":
                break
            if event is not None:
                self._handle(event)
            self._run_due_tasks()
            self._redraw()
            event = self._next(self._wait_s())
        self._icon.set_icon("grey")
        self._icon.set_tooltip("Quitting: running requests are finished first.")
        self._window.close()
        self._client.close()
        self._supervisor.stop()
        self._icon.stop()

    def _next(self, limit_s: float | None) -> TrayEvent | None:
        try:
            return self._inbox.get(timeout=limit_s)
        except queue.Empty:
            return None

    def _handle(self, event: TrayEvent) -> None:
        """Apply one event to the state; `Ready` only wakes the loop."""
        if (
            isinstance(
                event,
                SnapshotReceived
                | PeersReceived
                | LocalModelsReceived
                | SettingsReceived
                | SignInReceived
                | FeedLost
                | CapabilitiesFetched,
            )
            and event.instance != self._instance
        ):
            return  # from a service that has ended
        match event:
            case ServiceStatus():
                self._on_service_status(event)
            case (
                SnapshotReceived()
                | PeersReceived()
                | LocalModelsReceived()
                | SettingsReceived()
                | SignInReceived()
            ):
                self._on_received(event)
            case RefreshProgressed(done, total):
                if self._state.refresh is not None and not self._state.refresh.is_over:
                    self._set(refresh=Refresh(done=done, total=total))
            case FeedLost():
                self._supervisor.check()
            case CapabilitiesFetched(_, can_pause):
                self._set(can_pause=can_pause)
            case Refreshed(error):
                self._set(refresh=Refresh(is_over=True, error=error))
                self._refresh_shown_until = self._environment.clock() + REFRESH_SHOWN_S
            case ActivateRequested(node):
                self._open_window(node)
            case Action() if event.verb in LOCAL_VERBS:
                local = self._state.local
                _in_thread(lambda: self._local_actions.send(event, local))
            case Action():
                self._on_action(event)

    def _on_received(
        self,
        event: SnapshotReceived | PeersReceived | LocalModelsReceived | SettingsReceived | SignInReceived,
    ) -> None:
        """Store what the feed tells."""
        match event:
            case SnapshotReceived(_, view):
                self._view = view
            case PeersReceived(_, peers):
                self._on_peers(peers)
            case LocalModelsReceived(_, local):
                self._on_local_models(local)
            case SettingsReceived(_, settings):
                self._on_settings(settings)
            case SignInReceived(_, pending):
                self._on_sign_in(pending)

    def _on_service_status(self, status: ServiceStatus) -> None:
        """Follow the service that runs now, or show why none runs."""
        is_running = status.state == "running"
        self._set(
            service=_SERVICE_STATES[status.state],
            message="" if is_running else f"{status.text} {status.fix}".strip(),
            url=status.url,
            owns_service=status.is_ours,
            free_port=None if status.port is None else self._environment.free_port(status.port),
        )
        if not is_running:
            self._view, self._instance = None, ""
            self._set(
                refresh=None,
                peers=None,
                local=None,
                sign_in=PendingSignIn(),
                asks_key_storage=False,
                update="",
            )
            return
        if status.instance != self._instance:
            self._view = None
            _in_thread(lambda: self._fetch_capabilities(status.instance))
        self._instance = status.instance
        watch(self._environment.runtime_file, status.instance, self._inbox.put)
        if self._requested_node is not None:
            self._window.open(self._requested_node)
            self._requested_node = None

    def _fetch_capabilities(self, instance: str) -> None:
        """Fetch which optional items the menu may offer."""
        try:
            with self._client.use() as client:
                self._inbox.put(CapabilitiesFetched(instance, client.can_pause()))
        except MeshlightError:
            return  # the service has ended; the next one is asked again

    def _on_action(self, action: Action) -> None:
        """Do what a click requests; anything slow runs in a thread of its own."""
        match action.verb:
            case "open":
                self._open_window(action.target)
            case "refresh":
                self._refresh()
            case (
                "check"
                | "enable"
                | "disable"
                | "pause"
                | "resume"
                | "show-here"
                | "hide-here"
                | "let-in"
                | "turn-away"
            ):
                _in_thread(lambda: self._send(action))
            case "copy-address" | "copy-key" | "copy-environment":
                url = self._state.url
                _in_thread(lambda: self._copy(action, url))
            case "login-on" | "login-off":
                self._switch_login(on=action.verb == "login-on")
            case "notify-on" | "notify-off":
                self._switch_notifications(on=action.verb == "notify-on")
            case "snooze" | "wake":
                is_silent = action.verb == "snooze"
                self._snoozed_until = self._environment.clock() + SNOOZE_S if is_silent else None
                self._set(snoozed_until=self._environment.time_in(SNOOZE_S) if is_silent else "")
            case "log":
                _in_thread(self._show_log)
            case "restart":
                self._supervisor.restart()
            case "move":
                self._use_free_port()
            case "quit":
                pass  # handled by the loop

    def _on_peers(self, peers: PeersView) -> None:
        """Store the peers, and notify of a new pairing request: once, and at once, as it expires in a minute."""
        before, now = pairing_request(self._state.peers), pairing_request(peers)
        self._set(peers=peers)
        is_new = now is not None and (before is None or before.digits != now.digits)
        if now is not None and is_new and not self._is_silent:
            notification = replace(request_notification(now), on_click=lambda: self._inbox.put(OPEN_PEERS))
            _in_thread(lambda: self._environment.notify(notification))

    def _on_local_models(self, local: LocalView) -> None:
        """Store this machine's own models, and notify of downloads that have just ended."""
        for download in ended_downloads(self._state.local, local):
            if not self._is_silent:
                self._notify(*download_text(download))
        self._set(local=local, local_age_s=0.0)
        self._local_at = self._environment.clock()

    def _on_settings(self, settings: SettingsView) -> None:
        """Follow the settings; what was chosen here while no service ran, or before it knew this, is told to it."""
        if not self._preferences.is_told:
            chosen = self._preferences.notifications
            self._save_preferences(replace(self._preferences, is_told=True))
            if chosen != settings.notifications:
                _in_thread(lambda: self._send_settings({"notifications": chosen}))
        elif self._preferences.notifications != settings.notifications:
            self._save_preferences(replace(self._preferences, notifications=settings.notifications))
        if settings.asks_key_storage and not self._state.asks_key_storage and not self._is_silent:
            notification = replace(storage_notification(), on_click=lambda: self._inbox.put(CHOOSE_STORAGE))
            _in_thread(lambda: self._environment.notify(notification))
        self._set(
            # The page may have switched it, through the service.
            starts_at_login=None if self._autostart is None else self._autostart.is_on,
            notifies=self._preferences.notifications,
            asks_key_storage=settings.asks_key_storage,
            update="" if settings.update is None else settings.update.version,
        )

    def _on_sign_in(self, pending: PendingSignIn) -> None:
        """Store which browser asks to be let in, and notify of a new one: at once, as it waits a minute only."""
        is_new = pending.code and pending.code != self._state.sign_in.code
        self._set(sign_in=pending)
        if is_new and not self._is_silent:
            allow = Action("let-in", pending.code)
            notification = replace(sign_in_notification(pending), on_click=lambda: self._inbox.put(allow))
            _in_thread(lambda: self._environment.notify(notification))

    def _send_settings(self, change: Mapping[str, object]) -> None:
        """Send a change of the settings to the service; its effect arrives as an event."""
        try:
            with self._client.use() as client:
                client.change_settings(change)
        except MeshlightError as error:
            self._notify(error.title, error.hint)

    def _use_free_port(self) -> None:
        """Start the service on the free port that the menu offered, now and in future."""
        port = self._state.free_port
        if port is None:
            return
        try:
            self._environment.save_port(port)
        except MeshlightError as error:
            self._notify(error.title, error.hint)  # the port is still used until Meshlight quits
        self._supervisor.use_port(port)

    def _open_window(self, node: str) -> None:
        """Show the window now, or as soon as the service runs."""
        if self._state.service == "running":
            self._window.open(node)
        else:
            self._requested_node = node

    def _refresh(self) -> None:
        """Start a refresh, unless one that was started here is still running."""
        if self._state.refresh is not None and not self._state.refresh.is_over:
            return
        self._refresh_shown_until = None
        self._set(refresh=Refresh())

        def refresh() -> None:
            try:
                with self._client.use() as client:
                    client.refresh_now()
            except MeshlightError as error:
                self._inbox.put(Refreshed(error.title))
            else:
                self._inbox.put(Refreshed())

        _in_thread(refresh)

    def _send(self, action: Action) -> None:
        """Send the action to the service; its effect arrives as events."""
        try:
            with self._client.use() as client:
                if action.verb == "check":
                    client.check(action.target)
                elif action.verb in {"enable", "disable"}:
                    client.switch(action.target, on=action.verb == "enable")
                elif action.verb in {"show-here", "hide-here"}:
                    client.set_visibility(visible=action.verb == "show-here")
                elif action.verb in {"let-in", "turn-away"}:
                    client.answer_sign_in(action.target, allow=action.verb == "let-in")
                else:
                    client.pause(on=action.verb == "pause")
        except MeshlightError as error:
            self._notify(error.title, error.hint)

    def _copy(self, action: Action, url: str) -> None:
        try:
            if action.verb == "copy-address":
                text = f"{url}/v1"
            else:
                text = (
                    self._environment.key()
                    if action.verb == "copy-key"
                    else self._environment.environment(url)
                )
        except MeshlightError as error:
            self._notify(error.title, error.hint)
            return
        if not self._environment.copy(text):
            self._notify(
                "Copying to the clipboard failed.", "In a terminal, use: meshlight env, or meshlight key"
            )

    def _show_log(self) -> None:
        if not self._environment.show_log():
            self._notify("The log could not be opened.", "In a terminal, use: meshlight doctor")

    def _switch_login(self, *, on: bool) -> None:
        if self._autostart is None:
            return
        try:
            self._autostart.switch(on=on)
        except OSError as error:
            self._notify("Start at login could not be changed.", error.strerror or str(error))
        self._set(starts_at_login=self._autostart.is_on)

    def _switch_notifications(self, *, on: bool) -> None:
        self._save_preferences(replace(self._preferences, notifications=on, is_told=False))
        self._set(notifies=on)
        if self._state.service == "running":
            _in_thread(lambda: self._send_settings({"notifications": on}))

    def _notify(self, title: str, body: str) -> None:
        """Report a click that failed, even while notifications are off."""
        _in_thread(lambda: self._environment.notify(Notification(title, body)))

    def _run_due_tasks(self) -> None:
        """Do what is due by now: hide the refresh result, end the snooze, send notifications."""
        now = self._environment.clock()
        if self._refresh_shown_until is not None and now >= self._refresh_shown_until:
            self._refresh_shown_until = None
            self._set(refresh=None)
        if self._snoozed_until is not None and now >= self._snoozed_until:
            self._snoozed_until = None
            self._set(snoozed_until="")
        if self._state.local is not None:
            self._set(local_age_s=now - self._local_at)
        if self._state.service != "starting":
            self._notifications.update(watched_states(self._view, service=self._service_state()), now)
        notification = self._notifications.next_due(now, silent=self._is_silent)
        if notification is not None:
            _in_thread(lambda: self._environment.notify(notification))

    @property
    def _is_silent(self) -> bool:
        return not self._preferences.notifications or self._snoozed_until is not None

    def _service_state(self) -> WatchedState:
        state = self._state
        if state.service == "running":
            return WatchedState("Meshlight", "healthy")
        return WatchedState("Meshlight", "unhealthy", state.message)

    def _wait_s(self) -> float | None:
        """Return the seconds until a timer is due; None if only an event can change anything."""
        now = self._environment.clock()
        age_s = now - self._local_at
        next_s = next_change_s(self._state.local, age_s)
        waits = (
            self._refresh_shown_until,
            self._snoozed_until,
            self._notifications.due_at,
            None if next_s is None else now + next_s,
        )
        times = [at for at in waits if at is not None]
        return max(min(times) - now, 0.01) if times else None

    def _redraw(self) -> None:
        """Show the current state; the icon changes only what differs."""
        self._icon.set_icon(light_of(self._view, self._state))
        self._icon.set_tooltip(tooltip(self._view, self._state))
        self._icon.set_menu(menu(self._view, self._state))

    def _set(self, **changes: object) -> None:
        self._state = replace(self._state, **changes)

    def _save_preferences(self, preferences: Preferences) -> None:
        self._preferences = preferences
        self._preferences_file.write(preferences)


def _in_thread(work: Callable[[], object]) -> None:
    """Run slow work in a thread of its own."""
    threading.Thread(target=work, name="tray work", daemon=True).start()
