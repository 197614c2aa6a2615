"""The tray's menu as data: the lines that it shows now and the action of each. Pure functions."""

from meshlight import __version__
from meshlight.desktop.tray.local_menu import local_menu
from meshlight.desktop.tray.menu_items import LINE_CELLS, OPEN, STATES, Action, Item, line, separator
from meshlight.desktop.tray.peers_menu import peers_menu, request_line
from meshlight.desktop.tray.settings_menu import OPEN_SETTINGS, settings_lines, sign_in_lines
from meshlight.desktop.tray.state import Refresh, TrayState
from meshlight.desktop.tray.tooltip import PAUSED, light_of, name, short_reason, tooltip
from meshlight.desktop.window.launcher import APPS_NODE
from meshlight.domain.api_types import BackendView, SnapshotView
from meshlight.domain.snapshot import Light
from meshlight.domain.text import count, cut, sanitize

OPEN_APPS = Action("open", APPS_NODE)
BACKENDS_LISTED = 25
"""The menu must fit on the screen: the window lists the rest."""

_LIGHTS: dict[Light, str] = {"green": "●", "amber": "▲", "red": "✖", "grey": "○"}
_OFF = "-"


def menu(view: SnapshotView | None, state: TrayState) -> tuple[Item, ...]:
    """Return the whole menu; equal inputs give equal menus, so only real changes reach the screen."""
    is_up = state.service in {"starting", "running"}
    shown_view = view if state.service == "running" else None
    return (
        *sign_in_lines(state.sign_in),
        *request_line(state.peers),
        _status(shown_view, state),
        *_recovery(state),
        *settings_lines(state),
        Item(key="open", text="Open mesh", action=OPEN if is_up else None, is_default=True),
        separator(1),
        _refresh(shown_view, state.refresh),
        _backends(shown_view),
        *local_menu(state.local if shown_view else None, shown_view, state.local_age_s),
        *peers_menu(state.peers, shown_view),
        separator(2),
        line("apps", "Use it in your apps…", OPEN_APPS if is_up else None),
        line("copy-address", "Copy API address", Action("copy-address") if state.url else None),
        line("copy-key", "Copy API key", Action("copy-key") if state.url else None),
        line("copy-environment", "Copy as environment", Action("copy-environment") if state.url else None),
        separator(3),
        *([_pause(shown_view)] if state.can_pause else []),
        *_switches(state),
        line("settings", "Settings…", OPEN_SETTINGS if is_up else None),
        line("log", "Show log", Action("log")),
        _about(state),
        separator(4),
        line("quit", "Quit" if state.owns_service else "Quit (the service keeps running)", Action("quit")),
    )


def latency(value_ms: float | None) -> str:
    """Return a latency in steps of about a tenth, so that the menu doesn't change with every probe."""
    if value_ms is None:
        return ""
    if value_ms < 1:
        return "<1 ms"
    for limit, step in ((10, 1), (50, 5), (200, 10), (975, 50)):
        if value_ms < limit:
            return f"{max(step, round(value_ms / step) * step)} ms"
    return f"{round(value_ms / 500) / 2:.1f} s"


def _recovery(state: TrayState) -> list[Item]:
    """Return the actions that help when the service waits for the user."""
    if state.service != "stopped":
        return []
    lines = [line("restart", "Restart the service", Action("restart"))]
    if state.free_port is not None:
        lines.append(line("move", f"Use port {state.free_port} from now on", Action("move")))
    return lines


def _status(view: SnapshotView | None, state: TrayState) -> Item:
    """Return the line with the state; if a backend is the cause, a click shows it."""
    text = f"{_LIGHTS[light_of(view, state)]} {tooltip(view, state)}"
    unhealthy = [b for b in view.backends if b.enabled and b.health.state == "unhealthy"] if view else []
    return line("status", cut(text, LINE_CELLS), Action("open", unhealthy[0].id) if unhealthy else None)


def _refresh(view: SnapshotView | None, refresh: Refresh | None) -> Item:
    action = Action("refresh") if view else None
    if refresh is None or view is None:
        return line("refresh", "Refresh now", action)
    if refresh.error:
        return line("refresh", cut(f"Refresh failed: {sanitize(refresh.error)}", LINE_CELLS), action)
    if not refresh.is_over:
        progress = f" {refresh.done}/{refresh.total}" if refresh.total else ""
        return line("refresh", f"Refreshing…{progress}")
    enabled = [b for b in view.backends if b.enabled]
    healthy = sum(b.health.state == "healthy" for b in enabled)
    return line("refresh", f"Refreshed: {healthy} of {len(enabled)} healthy", action)


def _backends(view: SnapshotView | None) -> Item:
    backends = view.backends if view else ()
    if not backends:
        return line("backends", "No backend yet: a server or account that answers" if view else "Backends")
    shown = backends
    if len(backends) > BACKENDS_LISTED:
        shown = tuple(sorted(backends, key=_is_fine))[:BACKENDS_LISTED]
    lines = [_backend(backend) for backend in shown]
    if more := len(backends) - len(shown):
        lines.append(line("more", f"{count(more, 'more backend')}…", OPEN))
    return Item(key="backends", text="Backends", items=tuple(lines))


def _is_fine(backend: BackendView) -> bool:
    return not backend.enabled or backend.health.state == "healthy"


def _backend(backend: BackendView) -> Item:
    text = f"{_OFF} {name(backend)}: off"
    if backend.enabled:
        state = backend.health.state
        text = f"{STATES[state]} {name(backend)}: {state}"
        if state == "healthy":
            text += f", {latency(backend.latency_ms)}" if backend.latency_ms is not None else ""
        elif why := short_reason(backend):
            text += f" — {why}"
    switch = Action("disable" if backend.enabled else "enable", backend.id)
    return Item(
        key=f"backend {backend.id}",
        text=cut(text, LINE_CELLS),
        items=(
            line("open", "Open in mesh", Action("open", backend.id)),
            line("check", "Check now", Action("check", backend.id) if backend.enabled else None),
            line(switch.verb, "Disable" if backend.enabled else "Enable", switch),
        ),
    )


def _pause(view: SnapshotView | None) -> Item:
    if view is None:
        return line("pause", "Pause routing")
    if view.router.status == PAUSED:
        return line("pause", "Resume routing", Action("resume"))
    return line("pause", "Pause routing", Action("pause"))


def _switches(state: TrayState) -> list[Item]:
    lines = []
    if (on := state.starts_at_login) is not None:
        action = Action("login-off" if on else "login-on")
        lines.append(Item(key="login", text="Start at login", action=action, checked=on))
    if (on := state.notifies) is not None:
        action = Action("notify-off" if on else "notify-on")
        lines.append(Item(key="notify", text="Notifications", action=action, checked=on))
        if on and state.snoozed_until:
            lines.append(
                line(
                    "snooze",
                    f"End snooze (notifications are off until {state.snoozed_until})",
                    Action("wake"),
                )
            )
        elif on:
            lines.append(line("snooze", "Snooze notifications for 1 hour", Action("snooze")))
    return lines


def _about(state: TrayState) -> Item:
    lines = [line("version", f"Meshlight {__version__}")]
    if state.url:
        lines.append(line("address", f"Address: {sanitize(state.url)}"))
    lines.append(line("licence", "Licence: Apache-2.0"))
    return Item(key="about", text="About", items=tuple(lines))
