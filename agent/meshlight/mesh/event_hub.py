"""Numbers the events and queues each for every subscriber, encoded once as a server-sent event."""

import asyncio
from collections import deque
from collections.abc import Callable

import msgspec

from meshlight.domain.api_types import SnapshotView
from meshlight.domain.events import EVENT_NAMES, Event

KEPT_MAX = 1024
"""Events kept for a subscriber that reconnects."""
KEPT_BYTES = 4 << 20
QUEUE_MAX = 256
"""Frames queued for a slow reader; one that is further behind gets a whole snapshot instead."""
QUEUE_BYTES = 1 << 20


class Subscription:
    """One reader of the events; a reader that falls behind loses its queue and gets a snapshot.

    Each event that a reader gets has the number after the one before: none is sent twice.
    """

    def __init__(self, snapshot: Callable[[], bytes], backlog: list[bytes] | None) -> None:
        self._snapshot = snapshot
        self._frames: list[bytes] = backlog or []
        self._size = sum(map(len, self._frames))
        self._needs_snapshot = backlog is None
        self._ended = False
        self._waiter: asyncio.Future[None] | None = None

    def offer(self, frame: bytes) -> None:
        """Queue a frame."""
        if self._needs_snapshot:
            return
        if len(self._frames) >= QUEUE_MAX or self._size + len(frame) > QUEUE_BYTES:
            self.restart()
            return
        self._frames.append(frame)
        self._size += len(frame)
        self._wake()

    def restart(self) -> None:
        """Continue with a snapshot, which includes what is queued."""
        self._frames, self._size = [], 0
        self._needs_snapshot = True
        self._wake()

    def end(self) -> None:
        """End the stream; the reader gets None."""
        self._ended = True
        self._wake()

    async def next(self) -> bytes | None:
        """Return all queued frames, joined, or wait for one; None at the end."""
        while True:
            if self._ended:
                return None
            if self._needs_snapshot:
                # Making it may publish events that were held back: they are in it, and must not follow it.
                snapshot = self._snapshot()
                self._needs_snapshot = False
                return snapshot
            if self._frames:
                frames, self._frames, self._size = self._frames, [], 0
                return b"".join(frames)
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class EventHub:
    """The numbered stream of events.

    `snapshot` returns the whole mesh as of `seq`. Without subscribers an event is only a number: a reader that
    reconnects later has a gap and gets a snapshot. Numbers begin after `first`, which must differ at each start of
    the service, so that a reader that reconnects after a restart gets a snapshot too.
    """

    def __init__(self, snapshot: Callable[[], SnapshotView], first: int = 0) -> None:
        self.seq = first
        self._snapshot = snapshot
        self._encoder = msgspec.json.Encoder()
        self._kept: deque[tuple[int, bytes]] = deque()
        self._kept_size = 0
        self._subscriptions: set[Subscription] = set()
        self._ended = False

    @property
    def has_readers(self) -> bool:
        """Whether anybody follows the events."""
        return bool(self._subscriptions)

    def publish(self, make: Callable[[int], Event]) -> None:
        """Give an event the next number and queue it; without subscribers it is not even made."""
        self.seq += 1
        if not self._subscriptions:
            self._forget()
            return
        event = make(self.seq)
        frame = self._frame(self.seq, EVENT_NAMES[type(event)], self._encoder.encode(event))
        self._keep(frame)
        for subscription in self._subscriptions:
            subscription.offer(frame)

    def restart(self) -> None:
        """Give every reader a new snapshot, because something has changed that no event describes."""
        self.seq += 1
        self._forget()
        for subscription in self._subscriptions:
            subscription.restart()

    def subscribe(self, last_seq: int | None) -> Subscription:
        """Start reading after event `last_seq`; with None or after a gap, with a snapshot."""
        backlog: list[bytes] | None = None
        if last_seq is not None and (
            last_seq == self.seq or (self._kept and self._kept[0][0] <= last_seq + 1)
        ):
            backlog = [frame for seq, frame in self._kept if seq > last_seq] if last_seq <= self.seq else None
        subscription = Subscription(self._snapshot_frame, backlog)
        self._subscriptions.add(subscription)
        if self._ended:
            subscription.end()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Remove this reader."""
        self._subscriptions.discard(subscription)

    def end_streams(self) -> None:
        """End every stream of now: who may follow the events has changed, so each reader has to ask again."""
        for subscription in self._subscriptions:
            subscription.end()

    def close(self) -> None:
        """End every stream, now and from now on."""
        self._ended = True
        self.end_streams()

    def _keep(self, frame: bytes) -> None:
        self._kept.append((self.seq, frame))
        self._kept_size += len(frame)
        while len(self._kept) > KEPT_MAX or self._kept_size > KEPT_BYTES:
            self._kept_size -= len(self._kept.popleft()[1])

    def _forget(self) -> None:
        self._kept.clear()
        self._kept_size = 0

    def _snapshot_frame(self) -> bytes:
        view = self._snapshot()
        return self._frame(view.seq, "snapshot", self._encoder.encode(view))

    @staticmethod
    def _frame(seq: int, name: str, data: bytes) -> bytes:
        return b"id: %d\nevent: %s\ndata: %s\n\n" % (seq, name.encode(), data)
