"""Desktop notifications: which changes deserve one (`NotificationQueue`, pure), and how one is sent.

A backend is reported when its state has lasted for 10 s, and changes within a minute become one notification.
"""

import asyncio
import html
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from meshlight.domain.api_types import SnapshotView
from meshlight.domain.health import State
from meshlight.domain.text import cut, sanitize

TITLE_CELLS = 60
LINE_CELLS = 110
LINES = 4


class NotificationDelays(Struct, frozen=True, kw_only=True):
    """How long to wait before a notification."""

    settle_s: float = 10.0
    """A state must have lasted this long; shorter changes are never reported."""
    gap_s: float = 60.0
    """The least time between two notifications; changes in between are reported together."""


class WatchedState(Struct, frozen=True):
    """The state of the service or of a backend, with its name for people and the reason."""

    name: str
    state: State
    text: str = ""


class Notification(Struct, frozen=True):
    """One notification."""

    title: str
    body: str
    on_click: Callable[[], None] | None = None
    """Called on a click, on the thread that shows the notification."""


class NotificationQueue:
    """Remembers which states were reported, and returns a notification once a different one has lasted.

    All times are seconds of one monotonic clock.
    """

    def __init__(self, delays: NotificationDelays | None = None) -> None:
        self._delays = delays or NotificationDelays()
        self._reported: dict[str, State] = {}
        """The states that were reported last, or that were there at the start."""
        self._current: dict[str, WatchedState] = {}
        self._changed_at: dict[str, float] = {}
        """When each state began to differ from the reported one."""
        self._last_sent_at = float("-inf")

    def update(self, states: Mapping[str, WatchedState], now: float) -> None:
        """Record the current states; entries that are missing are forgotten."""
        for gone in self._reported.keys() - states.keys():
            self._reported.pop(gone)
            self._changed_at.pop(gone, None)
        for key, watched in states.items():
            before = self._current.get(key)
            if watched.state in {"warming", "unknown"}:
                self._changed_at.pop(key, None)  # temporary: the state that follows is reported
            elif self._reported.setdefault(key, watched.state) == watched.state:
                self._changed_at.pop(key, None)
            elif before is None or before.state != watched.state or key not in self._changed_at:
                self._changed_at[key] = now
        self._current = dict(states)

    @property
    def due_at(self) -> float | None:
        """When the next notification is due; None if there is none."""
        if not self._changed_at:
            return None
        return max(
            min(self._changed_at.values()) + self._delays.settle_s, self._last_sent_at + self._delays.gap_s
        )

    def next_due(self, now: float, *, silent: bool = False) -> Notification | None:
        """Return the notification that is due now, if any; `silent` only marks its states as reported."""
        due_at = self.due_at
        if due_at is None or now < due_at:
            return None
        settled = [key for key, since in self._changed_at.items() if now - since >= self._delays.settle_s]
        states = [self._current[key] for key in settled]
        for key in settled:
            self._reported[key] = self._current[key].state
            del self._changed_at[key]
        if silent or not states:
            return None
        self._last_sent_at = now
        return _notification(states, self._current)


def watched_states(view: SnapshotView | None, *, service: WatchedState) -> dict[str, WatchedState]:
    """Return the states to watch by id: the service (""), and while it runs each enabled backend."""
    states = {"": service}
    if view is not None and service.state == "healthy":
        for backend in view.backends:
            if backend.enabled:
                states[backend.id] = WatchedState(backend.name, backend.health.state, backend.health.text)
    return states


def _notification(states: list[WatchedState], everything: Mapping[str, WatchedState]) -> Notification:
    if len(states) == 1:
        [watched] = states
        title, body = f"{_name(watched)} {_verb(watched)}", "" if watched.state == "healthy" else watched.text
    else:
        backends = [watched for key, watched in everything.items() if key]
        down = [watched for watched in states if watched.state != "healthy"]
        if backends and all(watched.state == "unhealthy" for watched in backends):
            title = "Every backend is down"
        elif len(down) == len(states):
            title = f"{len(states)} backends are down"
        elif not down:
            title = f"{len(states)} backends are healthy again"
        else:
            title = f"{len(states)} backends changed"
        lines = [f"{_name(watched)} {_verb(watched)}" for watched in states[:LINES]]
        if (more := len(states) - LINES) > 0:
            lines.append(f"and {more} more")
        body = "\n".join(cut(line, LINE_CELLS) for line in lines)
    return Notification(
        cut(title, TITLE_CELLS),
        "\n".join(cut(line, LINE_CELLS) for line in sanitize(body, keep_newlines=True).split("\n")),
    )


def _name(watched: WatchedState) -> str:
    return sanitize(watched.name) or "A backend"


def _verb(watched: WatchedState) -> str:
    return "is healthy again" if watched.state == "healthy" else "is down"


NAME: Final = "Meshlight"
TIMEOUT_S: Final = 5.0
CLICK_TIMEOUT_S: Final = 60
"""A notification with `on_click` stays on the screen this long, and the click is awaited as long."""
_OSASCRIPT: Final = (
    "on run argv",
    "display notification (item 2 of argv) with title (item 1 of argv)",
    "end run",
)


def send_notification(notification: Notification) -> bool:
    """Show a notification; returns whether the desktop accepted it.

    Blocks for seconds, and for up to a minute if it has `on_click`: call it in a thread of its own.
    """
    try:
        asyncio.run(_send_by_library(notification))
    except Exception:  # noqa: BLE001 - no bus, no daemon, no permission: each platform has its own errors for that
        return _send_by_program(notification)
    return True


async def _send_by_library(notification: Notification) -> None:
    # Imported at the first notification: there is usually none, and the tray should use little memory.
    from desktop_notifier import DesktopNotifier  # noqa: PLC0415

    logging.getLogger("desktop_notifier").setLevel(
        logging.CRITICAL
    )  # if this fails, a program is tried instead
    clicked, dismissed = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(TIMEOUT_S):
        notifier = DesktopNotifier(app_name=NAME, app_icon=None)
        await notifier.get_capabilities()  # raises where no daemon accepts notifications; sending does not
        # On Linux the body is a kind of HTML, and names may come from untrusted machines.
        body = html.escape(notification.body, quote=False) if sys.platform == "linux" else notification.body
        await notifier.send(
            title=notification.title,
            message=body,
            on_clicked=clicked.set if notification.on_click else None,
            on_dismissed=dismissed.set if notification.on_click else None,
            timeout=CLICK_TIMEOUT_S if notification.on_click else -1,
        )
    if notification.on_click and await _wait_for_click(clicked, dismissed):
        notification.on_click()


async def _wait_for_click(clicked: asyncio.Event, dismissed: asyncio.Event) -> bool:
    """Wait until the notification is clicked or dismissed; returns whether it was clicked."""
    waits = [asyncio.ensure_future(event.wait()) for event in (clicked, dismissed)]
    await asyncio.wait(waits, timeout=CLICK_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    return clicked.is_set()


def _send_by_program(notification: Notification) -> bool:
    command = _command(notification)
    if command is None:
        return False
    try:
        result = subprocess.run(  # noqa: S603 - a fixed program, no shell; the texts are single words of it
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0


def _command(notification: Notification, platform: str = sys.platform) -> list[str] | None:
    if platform == "darwin":
        script = [word for line in _OSASCRIPT for word in ("-e", line)]
        return ["osascript", *script, notification.title, notification.body]
    if platform == "linux" and (program := shutil.which("notify-send")):
        return [
            program,
            f"--app-name={NAME}",
            "--",
            notification.title,
            html.escape(notification.body, quote=False),
        ]
    return None
