"""The menu of the tray as data: what it says now, and what each item asks for. Pure."""

from typing import Literal

from msgspec import Struct

from meshlight import __version__
from meshlight.desktop.text import clean, count, cut
from meshlight.desktop.tooltip import PAUSED, brief, light_of, name, tooltip
from meshlight.desktop.tray_state import Refresh, TrayState
from meshlight.domain.health import State
from meshlight.domain.snapshot import Light
from meshlight.domain.view import BackendView, SnapshotView

Verb = Literal[
    "open",
    "refresh",
    "check",
    "enable",
    "disable",
    "copy-address",
    "copy-key",
    "copy-environment",
    "pause",
    "resume",
    "login-on",
    "login-off",
    "notify-on",
    "notify-off",
    "snooze",
    "wake",
    "log",
    "restart",
    "move",
    "quit",
]
LINE_CELLS = 72
BACKENDS_LISTED = 25
"""A menu that is longer than the screen helps nobody: the rest is in the mesh's window."""

_LIGHTS: dict[Light, str] = {"green": "●", "amber": "▲", "red": "✖", "grey": "○"}
_STATES: dict[State, str] = {"healthy": "●", "warming": "◐", "unhealthy": "✖", "unknown": "○"}
_OFF = "-"


class Action(Struct, frozen=True):
    """What a click asks for, and of which backend (its id) where it is about one."""

    verb: Verb
    backend: str = ""


OPEN = Action("open")


class Item(Struct, frozen=True, kw_only=True):
    """One line of a menu; `key` names it among its siblings for as long as it is the same thing."""

    key: str
    text: str = ""
    """Plain text, already clean; faces escape in it what their platform would read as a mnemonic."""
    action: Action | None = None
    """What a click asks for; a line without action and without items is only there to be read."""
    checked: bool | None = None
    is_default: bool = False
    is_separator: bool = False
    items: tuple["Item", ...] = ()

    @property
    def enabled(self) -> bool:
        """Whether it can be clicked or opened."""
        return self.action is not None or bool(self.items)


def menu(view: SnapshotView | None, state: TrayState) -> tuple[Item, ...]:
    """Return the whole menu; equal inputs give equal menus, so a face is told only of real changes."""
    is_up = state.service in {"starting", "running"}
    known = view if state.service == "running" else None
    return (
        _status(known, state),
        *_mend(state),
        Item(key="open", text="Open mesh", action=OPEN if is_up else None, is_default=True),
        _separator(1),
        _refresh(known, state.refresh),
        _backends(known),
        _separator(2),
        _item("copy-address", "Copy API address", Action("copy-address") if state.url else None),
        _item("copy-key", "Copy API key", Action("copy-key") if state.url else None),
        _item("copy-environment", "Copy as environment", Action("copy-environment") if state.url else None),
        _separator(3),
        *([_pause(known)] if state.can_pause else []),
        *_switches(state),
        _item("log", "Show log", Action("log")),
        _about(state),
        _separator(4),
        _item("quit", "Quit" if state.owns_service else "Quit (the service goes on)", Action("quit")),
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


def _mend(state: TrayState) -> list[Item]:
    """Offer what helps a service that waits for its user."""
    if state.service != "stopped":
        return []
    lines = [_item("restart", "Restart the service", Action("restart"))]
    if state.free_port is not None:
        lines.append(_item("move", f"Use port {state.free_port} from now on", Action("move")))
    return lines


def _item(key: str, text: str, action: Action | None = None) -> Item:
    return Item(key=key, text=text, action=action)


def _separator(place: int) -> Item:
    return Item(key=f"separator-{place}", is_separator=True)


def _status(view: SnapshotView | None, state: TrayState) -> Item:
    """Say the state; where a backend is the cause, a click leads to it."""
    said = f"{_LIGHTS[light_of(view, state)]} {tooltip(view, state)}"
    ill = [b for b in view.backends if b.enabled and b.health.state == "unhealthy"] if view else []
    return _item("status", cut(said, LINE_CELLS), Action("open", ill[0].id) if ill else None)


def _refresh(view: SnapshotView | None, refresh: Refresh | None) -> Item:
    action = Action("refresh") if view else None
    if refresh is None or view is None:
        return _item("refresh", "Refresh now", action)
    if refresh.error:
        return _item("refresh", cut(f"Refresh failed: {clean(refresh.error)}", LINE_CELLS), action)
    if not refresh.is_over:
        progress = f" {refresh.done}/{refresh.total}" if refresh.total else ""
        return _item("refresh", f"Refreshing…{progress}")
    enabled = [b for b in view.backends if b.enabled]
    healthy = sum(b.health.state == "healthy" for b in enabled)
    return _item("refresh", f"Refreshed: {healthy} of {len(enabled)} healthy", action)


def _backends(view: SnapshotView | None) -> Item:
    backends = view.backends if view else ()
    if not backends:
        return _item("backends", "No backend yet" if view else "Backends")
    shown = backends
    if len(backends) > BACKENDS_LISTED:
        shown = tuple(sorted(backends, key=_is_well))[:BACKENDS_LISTED]
    lines = [_backend(backend) for backend in shown]
    if more := len(backends) - len(shown):
        lines.append(_item("more", f"{count(more, 'more backend')}…", OPEN))
    return Item(key="backends", text="Backends", items=tuple(lines))


def _is_well(backend: BackendView) -> bool:
    return not backend.enabled or backend.health.state == "healthy"


def _backend(backend: BackendView) -> Item:
    said = f"{_OFF} {name(backend)}: off"
    if backend.enabled:
        state = backend.health.state
        said = f"{_STATES[state]} {name(backend)}: {state}"
        if state == "healthy":
            said += f", {latency(backend.latency_ms)}" if backend.latency_ms is not None else ""
        elif why := brief(backend):
            said += f" — {why}"
    switch = Action("disable" if backend.enabled else "enable", backend.id)
    return Item(
        key=f"backend {backend.id}",
        text=cut(said, LINE_CELLS),
        items=(
            _item("open", "Open in mesh", Action("open", backend.id)),
            _item("check", "Check now", Action("check", backend.id) if backend.enabled else None),
            _item(switch.verb, "Disable" if backend.enabled else "Enable", switch),
        ),
    )


def _pause(view: SnapshotView | None) -> Item:
    if view is None:
        return _item("pause", "Pause routing")
    if view.router.status == PAUSED:
        return _item("pause", "Resume routing", Action("resume"))
    return _item("pause", "Pause routing", Action("pause"))


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
                _item("snooze", f"Wake notifications (silent until {state.snoozed_until})", Action("wake"))
            )
        elif on:
            lines.append(_item("snooze", "Snooze notifications for 1 hour", Action("snooze")))
    return lines


def _about(state: TrayState) -> Item:
    lines = [_item("version", f"Meshlight {__version__}")]
    if state.url:
        lines.append(_item("address", f"Listens at {clean(state.url)}"))
    lines.append(_item("licence", "Licence: Apache-2.0"))
    return Item(key="about", text="About", items=tuple(lines))
