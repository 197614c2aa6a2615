"""The responses that clients may go on from by `previous_response_id`: in memory only, and not for ever.

Each caller has a shelf of its own, so that nobody reaches what another has asked. A response holds its own input
and output and the id of the one before it, so that a long conversation is kept once and not once for each turn.
"""

from collections import OrderedDict
from typing import Any

import msgspec
from msgspec import Raw, Struct

from meshlight.domain.errors import PreviousResponseUnknown

OWN_ENTRIES, OWN_BYTES = 1_000, 64 << 20
GUEST_ENTRIES, GUEST_BYTES = 100, 8 << 20
GUESTS_MAX = 32
PREFIX = "resp_mesh_"
"""Begins the ids of the responses that are made here."""
_LISTED = 128
"""Bytes that an entry costs beside what it holds."""


class _Answered(Struct):
    """The part of a response that the next one needs."""

    output: tuple[Raw, ...]


_answered = msgspec.json.Decoder(_Answered)


class _Entry(Struct, frozen=True):
    previous: str | None
    items: tuple[Raw, ...]
    response: bytes
    size: int


class StoredResponses:
    """The responses of one caller; the one that was used longest ago goes first when they become too many."""

    def __init__(self, entries_max: int = OWN_ENTRIES, bytes_max: int = OWN_BYTES) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def keep(self, response_id: str, previous: str | None, items: tuple[Raw, ...], response: bytes) -> None:
        """Keep a response with the input that it answers; one that is too large for the shelf is not kept."""
        own = tuple(Raw(bytes(item)) for item in items)  # not views that would keep whole bodies alive
        size = len(response) + sum(len(bytes(item)) + _LISTED for item in own) + _LISTED
        if size > self._bytes_max:
            return
        self.forget(response_id)
        self._entries[response_id] = _Entry(previous, own, response, size)
        self._size += size
        while len(self._entries) > self._entries_max or self._size > self._bytes_max:
            _, gone = self._entries.popitem(last=False)
            self._size -= gone.size

    def knows(self, response_id: str) -> bool:
        """Whether a response is kept."""
        return response_id in self._entries

    def response(self, response_id: str) -> bytes | None:
        """Return a response as its client got it."""
        entry = self._entries.get(response_id)
        return None if entry is None else entry.response

    def forget(self, response_id: str) -> bool:
        """Let go of a response, and say whether it was there."""
        entry = self._entries.pop(response_id, None)
        self._size -= 0 if entry is None else entry.size
        return entry is not None

    def history(self, response_id: str) -> tuple[Raw, ...]:
        """Return the conversation up to and with a response: inputs and outputs in their order.

        Raises PreviousResponseUnknown where it, or one before it, is not kept (any more).
        """
        chain: list[tuple[str, _Entry]] = []
        step: str | None = response_id
        while step is not None:
            entry = self._entries.get(step)
            if entry is None or len(chain) > len(self._entries):
                raise unknown_response(response_id)
            chain.append((step, entry))
            step = entry.previous
        items: list[Raw] = []
        for kept_id, entry in reversed(chain):
            self._entries.move_to_end(kept_id)
            items += entry.items
            items += _answered.decode(entry.response).output
        return tuple(items)


class ResponseMemory:
    """The shelves of all callers."""

    def __init__(self) -> None:
        self._own = StoredResponses()
        self._guests: OrderedDict[str, StoredResponses] = OrderedDict()

    def of(self, guest: Any | None) -> StoredResponses:
        """Return what is kept for a peer, or for this machine's own clients where `guest` is None.

        A peer that is unknown by id gets a shelf that nobody finds again.
        """
        if guest is None:
            return self._own
        peer_id = getattr(guest, "id", None)
        if not isinstance(peer_id, str):
            return StoredResponses(GUEST_ENTRIES, GUEST_BYTES)
        stored = self._guests.get(peer_id)
        if stored is None:
            stored = self._guests[peer_id] = StoredResponses(GUEST_ENTRIES, GUEST_BYTES)
            while len(self._guests) > GUESTS_MAX:
                self._guests.popitem(last=False)
        self._guests.move_to_end(peer_id)
        return stored


def unknown_response(response_id: str) -> PreviousResponseUnknown:
    """Return the error for an id that nobody here knows."""
    return PreviousResponseUnknown(
        f"Previous response with id {response_id[:100]!r} not found: Meshlight keeps the latest in memory, until it "
        "is restarted.",
        "Send the whole conversation as input.",
        "previous_response_id",
    )
