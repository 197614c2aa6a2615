"""Follows one run of the service for the tray: reads its event feed in a thread and reports snapshots.

Most events change numbers only and are applied to the last snapshot; after others the snapshot is fetched again.
While nothing changes, nothing is requested.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from meshlight.api_client.client import ApiClient
from meshlight.api_client.events import FeedItem
from meshlight.api_client.local_mirror import LocalMirror
from meshlight.domain.api_types import PendingSignIn, SnapshotView
from meshlight.domain.errors import MeshlightError, RequestError
from meshlight.domain.events import (
    HealthEvent,
    LocalEvent,
    PeersEvent,
    RefreshEvent,
    SettingsEvent,
    SignInRequestEvent,
    TopologyEvent,
    TrafficEvent,
)
from meshlight.domain.local_models import LOCAL_ID
from meshlight.domain.local_views import LocalView
from meshlight.domain.peers import PeersView
from meshlight.domain.settings_views import SettingsView

RETRY_DELAY_S = 1.0


class SnapshotReceived(Struct, frozen=True):
    """The current snapshot of the service with this instance id."""

    instance: str
    view: SnapshotView


class PeersReceived(Struct, frozen=True):
    """The current peers of the service with this instance id."""

    instance: str
    peers: PeersView


class LocalModelsReceived(Struct, frozen=True):
    """The current own models of the service with this instance id."""

    instance: str
    local: LocalView


class SettingsReceived(Struct, frozen=True):
    """The current settings of the service with this instance id."""

    instance: str
    settings: SettingsView


class SignInReceived(Struct, frozen=True):
    """The browser that asks the service with this instance id to be let in, if one does."""

    instance: str
    pending: PendingSignIn


class RefreshProgressed(Struct, frozen=True):
    """The progress of a refresh, whoever started it."""

    done: int
    total: int


class FeedLost(Struct, frozen=True):
    """The feed of this instance has ended."""

    instance: str


FeedUpdate = (
    SnapshotReceived
    | PeersReceived
    | LocalModelsReceived
    | SettingsReceived
    | SignInReceived
    | RefreshProgressed
    | FeedLost
)


def watch(runtime_file: Path, instance: str, notify: Callable[[FeedUpdate], None]) -> None:
    """Follow the service in a new thread, which ends when the service does.

    `notify` is called from that thread; its last call is with `FeedLost`.
    """
    has_reported = threading.Event()

    def report(event: FeedUpdate) -> None:
        has_reported.set()
        notify(event)

    def run() -> None:
        try:
            with ApiClient.connect(runtime_file) as client:
                if client.runtime.instance == instance:
                    _watch_feed(client, report)
        except MeshlightError:
            pass  # only the end matters here: the supervisor finds out the reason
        finally:
            if not has_reported.is_set():
                time.sleep(
                    RETRY_DELAY_S
                )  # a service without a feed must not be asked again and again without a pause
            notify(FeedLost(instance))

    threading.Thread(target=run, name="feed", daemon=True).start()


def _watch_feed(client: ApiClient, notify: Callable[[FeedUpdate], None]) -> None:
    view: SnapshotView | None = None
    local: LocalMirror | None = None
    instance = client.runtime.instance
    for event in client.events():
        if _may_hide_local_changes(event, local) and (view is None or local is not None):
            local = _fetch_local_models(client, notify)
        if _report_simple(client, event, notify):
            continue
        if isinstance(event, LocalEvent):
            if local is not None:
                notify(LocalModelsReceived(instance, local.apply(event)))
        elif not isinstance(event, TrafficEvent):
            # The snapshot that was fetched last may already contain this event.
            if view is not None and not isinstance(event, SnapshotView) and event.seq <= view.seq:
                continue
            if view is None:
                _fetch_peers(client, notify)
            if isinstance(event, SnapshotView):  # the first one, or after a gap in the feed
                _fetch_settings(client, notify)
            before, view = view, _apply_event(view, event) or client.snapshot()
            if view != before:
                notify(SnapshotReceived(instance, view))


def _report_simple(client: ApiClient, event: FeedItem, notify: Callable[[FeedUpdate], None]) -> bool:
    """Report an event that needs nothing but itself; returns whether it was one."""
    instance = client.runtime.instance
    if isinstance(event, RefreshEvent):
        notify(RefreshProgressed(event.done, event.total))
    elif isinstance(event, PeersEvent):
        notify(PeersReceived(instance, event.peers))
    elif isinstance(event, SettingsEvent):
        _fetch_settings(client, notify)
    elif isinstance(event, SignInRequestEvent):
        notify(SignInReceived(instance, PendingSignIn(code=event.code, left_s=event.left_s)))
    else:
        return False
    return True


def _fetch_peers(client: ApiClient, notify: Callable[[FeedUpdate], None]) -> None:
    with suppress(RequestError):  # an older service has no peers
        notify(PeersReceived(client.runtime.instance, client.peers()))


def _fetch_settings(client: ApiClient, notify: Callable[[FeedUpdate], None]) -> None:
    with suppress(MeshlightError):  # an older service tells less; an end of it is noticed elsewhere
        notify(SettingsReceived(client.runtime.instance, client.settings()))
        notify(SignInReceived(client.runtime.instance, client.pending_sign_in()))


def _fetch_local_models(client: ApiClient, notify: Callable[[FeedUpdate], None]) -> LocalMirror | None:
    try:
        mirror = LocalMirror(client.local_models())
    except RequestError:
        return None  # an older service has none
    notify(LocalModelsReceived(client.runtime.instance, mirror.view))
    return mirror


def _may_hide_local_changes(event: FeedItem, local: LocalMirror | None) -> bool:
    """Whether own models may have been switched on or off, or a gap in the feed may have hidden changes."""
    if not isinstance(event, TopologyEvent):
        return isinstance(event, SnapshotView)
    if local is None or local.view.enabled:
        return LOCAL_ID in event.removed
    return any(backend.id == LOCAL_ID for backend in event.backends)


def _apply_event(view: SnapshotView | None, event: FeedItem) -> SnapshotView | None:
    """Return the snapshot after an event that changes numbers only; None when it has to be fetched again."""
    if isinstance(event, SnapshotView):
        return event
    if view is None or not isinstance(event, HealthEvent):
        return None
    changes = {change.id: change for change in event.backends}
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
    return None if changes else replace(view, seq=event.seq, backends=tuple(backends))
