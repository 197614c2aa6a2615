"""What is worth a notification: pure, and never in a hurry. Sending it is `notice.py`'s business."""

from collections.abc import Callable, Mapping

from msgspec import Struct

from meshlight.desktop.text import clean, cut
from meshlight.domain.health import State
from meshlight.domain.view import SnapshotView

TITLE_CELLS = 60
LINE_CELLS = 110
LINES = 4


class Rule(Struct, frozen=True, kw_only=True):
    """How patient to be."""

    settle_s: float = 10.0
    """A state must have lasted so long; what comes and goes faster is not told at all."""
    apart_s: float = 60.0
    """Between two notifications; what happens meanwhile is told in one."""


class Mark(Struct, frozen=True):
    """One thing that can be well or not: its name for people, how it is, and why."""

    name: str
    state: State
    text: str = ""


class Note(Struct, frozen=True):
    """One notification."""

    title: str
    body: str
    on_click: Callable[[], None] | None = None
    """What a click on it does, on the thread that shows it."""


class Bulletin:
    """Remembers what the user knows, and says what has changed since and has come to stay.

    All instants are seconds of one monotonic clock.
    """

    def __init__(self, rule: Rule | None = None) -> None:
        self._rule = rule or Rule()
        self._known: dict[str, State] = {}
        """What the user was told last, or what was so at the start."""
        self._now: dict[str, Mark] = {}
        self._since: dict[str, float] = {}
        """Since when a thing has been otherwise than the user knows."""
        self._last = float("-inf")

    def see(self, marks: Mapping[str, Mark], now: float) -> None:
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

    def take(self, now: float, *, silent: bool = False) -> Note | None:
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


def marks_of(view: SnapshotView | None, *, service: Mark) -> dict[str, Mark]:
    """Return what is watched: the service, and while it runs each backend that is switched on."""
    marks = {"": service}
    if view is not None and service.state == "healthy":
        for backend in view.backends:
            if backend.enabled:
                marks[backend.id] = Mark(backend.name, backend.health.state, backend.health.text)
    return marks


def _note(marks: list[Mark], everything: Mapping[str, Mark]) -> Note:
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
    return Note(cut(title, TITLE_CELLS), "\n".join(cut(clean(line), LINE_CELLS) for line in body.split("\n")))


def _name(mark: Mark) -> str:
    return clean(mark.name) or "A backend"


def _verb(mark: Mark) -> str:
    return "is healthy again" if mark.state == "healthy" else "is down"
