"""What is worth a notification: pure, and never in a hurry. Sending it is `notice.py`'s business.

Puts a notification on the screen: by the desktop's own service, or by the program that is there for it.
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


class Rule(Struct, frozen=True, kw_only=True):
    """How patient to be."""

    settle_s: float = 10.0
    """A state must have lasted so long; what comes and goes faster is not told at all."""
    apart_s: float = 60.0
    """Between two notifications; what happens meanwhile is told in one."""


class BackendMark(Struct, frozen=True):
    """One thing that can be well or not: its name for people, how it is, and why."""

    name: str
    state: State
    text: str = ""


class Notification(Struct, frozen=True):
    """One notification."""

    title: str
    body: str
    on_click: Callable[[], None] | None = None
    """What a click on it does, on the thread that shows it."""


class NotificationQueue:
    """Remembers what the user knows, and says what has changed since and has come to stay.

    All instants are seconds of one monotonic clock.
    """

    def __init__(self, rule: Rule | None = None) -> None:
        self._rule = rule or Rule()
        self._known: dict[str, State] = {}
        """What the user was told last, or what was so at the start."""
        self._now: dict[str, BackendMark] = {}
        self._since: dict[str, float] = {}
        """Since when a thing has been otherwise than the user knows."""
        self._last = float("-inf")

    def see(self, marks: Mapping[str, BackendMark], now: float) -> None:
        """Take in how everything is; what is missing is forgotten."""
        for gone in self._known.keys() - marks.keys():
            self._known.pop(gone)
            self._since.pop(gone, None)
        for key, mark in marks.items():
            before = self._now.get(key)
            if mark.state in {"warming", "unknown"}:
                self._since.pop(key, None)  # on its way: what it becomes will be told
            elif self._known.setdefault(key, mark.state) == mark.state:
                self._since.pop(key, None)
            elif before is None or before.state != mark.state or key not in self._since:
                self._since[key] = now
        self._now = dict(marks)

    @property
    def due_at(self) -> float | None:
        """When there will be something to tell; None when there is nothing."""
        if not self._since:
            return None
        return max(min(self._since.values()) + self._rule.settle_s, self._last + self._rule.apart_s)

    def take(self, now: float, *, silent: bool = False) -> Notification | None:
        """Return what is to be told now, all of it in one; `silent` takes it as known without telling."""
        due_at = self.due_at
        if due_at is None or now < due_at:
            return None
        ripe = [key for key, since in self._since.items() if now - since >= self._rule.settle_s]
        marks = [self._now[key] for key in ripe]
        for key in ripe:
            self._known[key] = self._now[key].state
            del self._since[key]
        if silent or not marks:
            return None
        self._last = now
        return _note(marks, self._now)


def marks_of(view: SnapshotView | None, *, service: BackendMark) -> dict[str, BackendMark]:
    """Return what is watched: the service, and while it runs each backend that is switched on."""
    marks = {"": service}
    if view is not None and service.state == "healthy":
        for backend in view.backends:
            if backend.enabled:
                marks[backend.id] = BackendMark(backend.name, backend.health.state, backend.health.text)
    return marks


def _note(marks: list[BackendMark], everything: Mapping[str, BackendMark]) -> Notification:
    if len(marks) == 1:
        [mark] = marks
        title, body = f"{_name(mark)} {_verb(mark)}", "" if mark.state == "healthy" else mark.text
    else:
        backends = [mark for key, mark in everything.items() if key]
        down = [mark for mark in marks if mark.state != "healthy"]
        if backends and all(mark.state == "unhealthy" for mark in backends):
            title = "Every backend is down"
        elif len(down) == len(marks):
            title = f"{len(marks)} backends are down"
        elif not down:
            title = f"{len(marks)} backends are healthy again"
        else:
            title = f"{len(marks)} backends changed"
        lines = [f"{_name(mark)} {_verb(mark)}" for mark in marks[:LINES]]
        if (more := len(marks) - LINES) > 0:
            lines.append(f"and {more} more")
        body = "\n".join(cut(line, LINE_CELLS) for line in lines)
    return Notification(
        cut(title, TITLE_CELLS),
        "\n".join(cut(line, LINE_CELLS) for line in sanitize(body, keep_newlines=True).split("\n")),
    )


def _name(mark: BackendMark) -> str:
    return sanitize(mark.name) or "A backend"


def _verb(mark: BackendMark) -> str:
    return "is healthy again" if mark.state == "healthy" else "is down"


NAME: Final = "Meshlight"
LIMIT_S: Final = 5.0
CLICK_S: Final = 60
"""For so long a note that can be clicked stays, and its click is waited for."""
_OSASCRIPT: Final = (
    "on run argv",
    "display notification (item 2 of argv) with title (item 1 of argv)",
    "end run",
)


def send_notification(note: Notification) -> bool:
    """Show the note; whether somebody took it.

    May take seconds, and a minute for a note that can be clicked: not for a thread that others wait for.
    """
    try:
        asyncio.run(_by_library(note))
    except Exception:  # noqa: BLE001 - no bus, no daemon, no permission: each platform has its own errors for that
        return _by_program(note)
    return True


async def _by_library(note: Notification) -> None:
    # Imported at the first notification: most days have none, and the tray should stay small.
    from desktop_notifier import DesktopNotifier  # noqa: PLC0415

    logging.getLogger("desktop_notifier").setLevel(
        logging.CRITICAL
    )  # what fails here is told by the other way
    clicked, over = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(LIMIT_S):
        notifier = DesktopNotifier(app_name=NAME, app_icon=None)
        await (
            notifier.get_capabilities()
        )  # this raises where nobody would take a note, and `send_notification` doesn't
        # On Linux the body is a kind of HTML, and names come from strangers.
        body = html.escape(note.body, quote=False) if sys.platform == "linux" else note.body
        await notifier.send(
            title=note.title,
            message=body,
            on_clicked=clicked.set if note.on_click else None,
            on_dismissed=over.set if note.on_click else None,
            timeout=CLICK_S if note.on_click else -1,
        )
    if note.on_click and await _click(clicked, over):
        note.on_click()


async def _click(clicked: asyncio.Event, over: asyncio.Event) -> bool:
    """Wait until the note is clicked or gone; whether it was clicked."""
    waits = [asyncio.ensure_future(event.wait()) for event in (clicked, over)]
    await asyncio.wait(waits, timeout=CLICK_S, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    return clicked.is_set()


def _by_program(note: Notification) -> bool:
    command = _command(note)
    if command is None:
        return False
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program, no shell; the texts are single words of it
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _command(note: Notification, platform: str = sys.platform) -> list[str] | None:
    if platform == "darwin":
        script = [word for line in _OSASCRIPT for word in ("-e", line)]
        return ["osascript", *script, note.title, note.body]
    if platform == "linux" and (program := shutil.which("notify-send")):
        return [program, f"--app-name={NAME}", "--", note.title, html.escape(note.body, quote=False)]
    return None
