"""Follows the mesh by the feed of the service: each change at once, and nothing asked while nothing changes."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from meshlight.api_client.client import ApiClient
from meshlight.api_client.events import FeedItem
from meshlight.domain.api_types import SnapshotView
from meshlight.domain.errors import MeshlightError, RequestError
from meshlight.domain.events import HealthEvent, PeersEvent, RefreshEvent, TrafficEvent
from meshlight.domain.peers import PeersView

AGAIN_S = 1.0


class SnapshotReceived(Struct, frozen=True):
    """The mesh as it is now, as the service of this instance tells it."""

    instance: str
    view: SnapshotView


class PeersReceived(Struct, frozen=True):
    """Other Meshlights, as the service of this instance tells of them."""

    instance: str
    peers: PeersView


class RefreshProgressed(Struct, frozen=True):
    """How far a refresh has come, whoever asked for it."""

    done: int
    total: int


class FeedLost(Struct, frozen=True):
    """The feed of this instance has ended."""

    instance: str


FeedUpdate = SnapshotReceived | PeersReceived | RefreshProgressed | FeedLost


def watch(runtime_file: Path, instance: str, tell: Callable[[FeedUpdate], None]) -> None:
    """Start to follow the service in a thread of its own, which ends when the service does.

    Everything is told from that thread, `FeedLost` as the last thing.
    """
    seen = threading.Event()

    def saw(news: FeedUpdate) -> None:
        seen.set()
        tell(news)

    def run() -> None:
        try:
            with ApiClient.connect(runtime_file) as service:
                if service.runtime.instance == instance:
                    _watch_feed(service, saw)
        except MeshlightError:
            pass  # that it is over is all that matters: the supervisor finds out why
        finally:
            if not seen.is_set():
                time.sleep(AGAIN_S)  # or a service that gives no feed would be asked for one without a pause
            tell(FeedLost(instance))

    threading.Thread(target=run, name="feed", daemon=True).start()


def _watch_feed(service: ApiClient, tell: Callable[[FeedUpdate], None]) -> None:
    view: SnapshotView | None = None
    instance = service.runtime.instance
    for news in service.events():
        if isinstance(news, RefreshEvent):
            tell(RefreshProgressed(news.done, news.total))
        elif isinstance(news, PeersEvent):
            tell(PeersReceived(instance, news.peers))
        elif not isinstance(news, TrafficEvent):
            # What was asked for last may know of this event already: it is older then.
            if view is not None and not isinstance(news, SnapshotView) and news.seq <= view.seq:
                continue
            if view is None:
                _fetch_peers(service, tell)
            before, view = view, _after(view, news) or service.snapshot()
            if view != before:
                tell(SnapshotReceived(instance, view))


def _fetch_peers(service: ApiClient, tell: Callable[[FeedUpdate], None]) -> None:
    with suppress(RequestError):  # of a service that knows nothing of other Meshlights
        tell(PeersReceived(service.runtime.instance, service.peers()))


def _after(view: SnapshotView | None, news: FeedItem) -> SnapshotView | None:
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
