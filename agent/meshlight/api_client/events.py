"""Reads the event stream `/mesh/events`: each server-sent event becomes an event type of the domain."""

import socket
from collections.abc import Iterable, Iterator
from typing import Self

import httpx
import msgspec

from meshlight.domain.api_types import SnapshotView
from meshlight.domain.errors import ServiceError
from meshlight.domain.events import (
    Event,
    HealthEvent,
    IncidentEvent,
    LocalEvent,
    PeersEvent,
    RefreshEvent,
    SettingsEvent,
    SignInRequestEvent,
    TopologyEvent,
    TrafficEvent,
)

FeedItem = SnapshotView | Event
"""One item of the feed: a full snapshot (on connect and after a gap) or a change."""

_ITEM_TYPES: dict[str, type[FeedItem]] = {
    "snapshot": SnapshotView,
    "health": HealthEvent,
    "topology": TopologyEvent,
    "traffic": TrafficEvent,
    "refresh": RefreshEvent,
    "incident": IncidentEvent,
    "peers": PeersEvent,
    "local": LocalEvent,
    "settings": SettingsEvent,
    "sign-in": SignInRequestEvent,
}


class EventFeed:
    """The events of one open connection; it ends when the service ends it, or after `stop`."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._items = read_feed(response.iter_lines())
        self._stopped = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> FeedItem:
        try:
            return next(self._items)
        except httpx.TransportError:
            if self._stopped:
                raise StopIteration from None
            raise

    def stop(self) -> None:
        """End the feed, from any thread, even while another thread waits for its next event."""
        self._stopped = True
        connection: socket.socket = self._response.extensions["network_stream"].get_extra_info("socket")
        try:
            connection.shutdown(socket.SHUT_RDWR)  # closing alone would not wake the reading thread
        except OSError:
            return  # already closed


def read_feed(lines: Iterable[str]) -> Iterator[FeedItem]:
    """Yield each event in `lines` (without line ends).

    Events with an unknown name are skipped, as a newer service may send more than this client supports.
    Raises ServiceError when the data of an event doesn't match its name.
    """
    name = ""
    data: list[str] = []
    for line in lines:
        part, _, value = line.partition(":")
        if not line:
            item_type = _ITEM_TYPES.get(name)
            if item_type is not None and data:
                yield _decode("\n".join(data), item_type, name)
            name, data = "", []
        elif part == "event":
            name = value.removeprefix(" ")
        elif part == "data":
            data.append(value.removeprefix(" "))


def _decode(data: str, item_type: type[FeedItem], name: str) -> FeedItem:
    try:
        return msgspec.json.decode(data, type=item_type)
    except msgspec.MsgspecError as error:
        raise ServiceError(
            f"The service sent a {name} event that this program can't read: {error}.",
            "The service and this program may be of different versions: restart the service.",
        ) from error
