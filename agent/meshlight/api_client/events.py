"""Reading `/mesh/events`: server-sent events become the events of the domain."""

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
    PeersEvent,
    RefreshEvent,
    TopologyEvent,
    TrafficEvent,
)

FeedItem = SnapshotView | Event
"""One thing that the feed says: the whole mesh (on connect and after a gap), or what changed."""

_SHAPES: dict[str, type[FeedItem]] = {
    "snapshot": SnapshotView,
    "health": HealthEvent,
    "topology": TopologyEvent,
    "traffic": TrafficEvent,
    "refresh": RefreshEvent,
    "incident": IncidentEvent,
    "peers": PeersEvent,
}


class EventFeed:
    """The events of one open connection; it ends when the service ends it, or after `stop`."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer
        self._news = read_feed(answer.iter_lines())
        self._stopped = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> FeedItem:
        try:
            return next(self._news)
        except httpx.TransportError:
            if self._stopped:
                raise StopIteration from None
            raise

    def stop(self) -> None:
        """End the feed from any thread, also while another waits in it."""
        self._stopped = True
        connection: socket.socket = self._answer.extensions["network_stream"].get_extra_info("socket")
        try:
            connection.shutdown(socket.SHUT_RDWR)  # closing alone would not wake the thread that reads
        except OSError:
            return  # it has ended already


def read_feed(lines: Iterable[str]) -> Iterator[FeedItem]:
    """Yield each event that `lines` (without their ends) hold.

    Events of an unknown name are passed over, as a newer service may send more than this client knows.
    Raises ServiceError when an event is not what its name says.
    """
    name = ""
    data: list[str] = []
    for line in lines:
        part, _, value = line.partition(":")
        if not line:
            shape = _SHAPES.get(name)
            if shape is not None and data:
                yield _decode("\n".join(data), shape, name)
            name, data = "", []
        elif part == "event":
            name = value.removeprefix(" ")
        elif part == "data":
            data.append(value.removeprefix(" "))


def _decode(data: str, shape: type[FeedItem], name: str) -> FeedItem:
    try:
        return msgspec.json.decode(data, type=shape)
    except msgspec.MsgspecError as error:
        raise ServiceError(
            f"The service sent a {name} event that this program can't read: {error}.",
            "The service and this program may be of different versions: restart the service.",
        ) from error
