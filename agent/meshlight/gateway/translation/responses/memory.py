"""Stores responses that clients may continue by `previous_response_id`, in memory, up to limits.

Each caller has a store of its own, so that nobody reaches another's conversations. An entry has its own input and
output and the id of the previous one, so that a long conversation is stored once, not once per turn.
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
"""The prefix of the ids of responses made here."""
_ENTRY_COST = 128
"""Bytes that an entry costs besides its content."""


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
    """The responses of one caller; beyond the limits, the least recently used is dropped."""

    def __init__(self, entries_max: int = OWN_ENTRIES, bytes_max: int = OWN_BYTES) -> None:
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def keep(self, response_id: str, previous: str | None, items: tuple[Raw, ...], response: bytes) -> None:
        """Store a response with its input; one that is larger than the store is not stored."""
        own = tuple(Raw(bytes(item)) for item in items)  # copies: views would keep complete bodies alive
        size = len(response) + sum(len(bytes(item)) + _ENTRY_COST for item in own) + _ENTRY_COST
        if size > self._bytes_max:
            return
        self.forget(response_id)
        self._entries[response_id] = _Entry(previous, own, response, size)
        self._size += size
        while len(self._entries) > self._entries_max or self._size > self._bytes_max:
            _, dropped = self._entries.popitem(last=False)
            self._size -= dropped.size

    def knows(self, response_id: str) -> bool:
        """Whether a response is stored."""
        return response_id in self._entries

    def response(self, response_id: str) -> bytes | None:
        """Return a response as it was sent to its client."""
        entry = self._entries.get(response_id)
        return None if entry is None else entry.response

    def forget(self, response_id: str) -> bool:
        """Remove a response; return whether it was stored."""
        entry = self._entries.pop(response_id, None)
        self._size -= 0 if entry is None else entry.size
        return entry is not None

    def history(self, response_id: str) -> tuple[Raw, ...]:
        """Return the conversation up to and with a response: inputs and outputs in their order.

        Raises PreviousResponseUnknown if it, or one before it, is not stored (any more).
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
        for entry_id, entry in reversed(chain):
            self._entries.move_to_end(entry_id)
            items += entry.items
            items += _answered.decode(entry.response).output
        return tuple(items)


class ResponseMemory:
    """The stores of all callers."""

    def __init__(self) -> None:
        self._own = StoredResponses()
        self._guests: OrderedDict[str, StoredResponses] = OrderedDict()

    def of(self, guest: Any | None) -> StoredResponses:
        """Return the store of a peer, or of this machine's own clients if `guest` is None.

        A peer without an id gets an empty store that is not kept.
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
    """Return the error for an unknown id."""
    return PreviousResponseUnknown(
        f"Previous response with id {response_id[:100]!r} not found: Meshlight keeps the latest in memory, until it "
        "is restarted.",
        "Send the whole conversation as input.",
        "previous_response_id",
    )
