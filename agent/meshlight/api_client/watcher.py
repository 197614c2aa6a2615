"""Follows the mesh by the feed of the service: each change at once, and nothing asked while nothing changes."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from meshlight.desktop.client import LocalService
from meshlight.desktop.feed import News
from meshlight.domain.errors import MeshlightError, RequestError
from meshlight.domain.events import HealthEvent, PeersEvent, RefreshEvent, TrafficEvent
from meshlight.domain.peer_view import PeersView
from meshlight.domain.view import SnapshotView

AGAIN_S = 1.0


class Seen(Struct, frozen=True):
    """The mesh as it is now, as the service of this instance tells it."""

    instance: str
    view: SnapshotView


class Around(Struct, frozen=True):
    """Other Meshlights, as the service of this instance tells of them."""

    instance: str
    peers: PeersView


class Progress(Struct, frozen=True):
    """How far a refresh has come, whoever asked for it."""

    done: int
    total: int


class Lost(Struct, frozen=True):
    """The feed of this instance has ended."""

    instance: str


Told = Seen | Around | Progress | Lost


def follow(runtime_file: Path, instance: str, tell: Callable[[Told], None]) -> None:
    """Start to follow the service in a thread of its own, which ends when the service does.

    Everything is told from that thread, `Lost` as the last thing.
    """
    seen = threading.Event()

    def saw(news: Told) -> None:
        seen.set()
        tell(news)

    def run() -> None:
        try:
            with LocalService.connect(runtime_file) as service:
                if service.runtime.instance == instance:
                    _follow(service, saw)
        except MeshlightError:
            pass  # that it is over is all that matters: the supervisor finds out why
        finally:
            if not seen.is_set():
                time.sleep(AGAIN_S)  # or a service that gives no feed would be asked for one without a pause
            tell(Lost(instance))

    threading.Thread(target=run, name="feed", daemon=True).start()


def _follow(service: LocalService, tell: Callable[[Told], None]) -> None:
    view: SnapshotView | None = None
    instance = service.runtime.instance
    for news in service.events():
        if isinstance(news, RefreshEvent):
            tell(Progress(news.done, news.total))
        elif isinstance(news, PeersEvent):
            tell(Around(instance, news.peers))
        elif not isinstance(news, TrafficEvent):
            # What was asked for last may know of this event already: it is older then.
            if view is not None and not isinstance(news, SnapshotView) and news.seq <= view.seq:
                continue
            if view is None:
                _look_around(service, tell)
            before, view = view, _after(view, news) or service.snapshot()
            if view != before:
                tell(Seen(instance, view))


def _look_around(service: LocalService, tell: Callable[[Told], None]) -> None:
    with suppress(RequestError):  # of a service that knows nothing of other Meshlights
        tell(Around(service.runtime.instance, service.peers()))


def _after(view: SnapshotView | None, news: News) -> SnapshotView | None:
    """Return the mesh after an event that changes numbers only; None when it has to be asked for as a whole."""
    if isinstance(news, SnapshotView):
        return news
    if view is None or not isinstance(news, HealthEvent):
        return None
    changes = {change.id: change for change in news.backends}
    backends = []
    for backend in view.backends:
        change = changes.pop(backend.id, None)
        if change is None:
            backends.append(backend)
        elif (change.enabled, change.health.state, change.health.reason) != (
            backend.enabled,
            backend.health.state,
            backend.health.reason,
        ):
            return None
        else:
            backends.append(replace(backend, health=change.health, latency_ms=change.latency_ms))
    return None if changes else replace(view, seq=news.seq, backends=tuple(backends))
