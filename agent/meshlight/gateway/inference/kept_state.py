"""What of a request lives in one backend alone, and which backend that is.

A response that is continued, a conversation, a container of code, a file: an account knows only its own. So a request
that names one goes to the backend that has it, or is answered with who that is. Which one it is shows in the answers:
an answer that names such an id was made by the backend that keeps it, and a backend that answered a request that
named one has it (files are uploaded past Meshlight: such an upload names no model). Ids are kept as hashes, for a
day, the latest 10,000; of one that is not known, nothing is decided. What peers name is remembered apart, and for
peers alone: nothing that they send moves a request of this machine, or drives out what it needs.

Engines keep nothing of the kind, and some ignore what they don't know: from their answers, nothing is learned.
"""

import re
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import blake2b
from typing import Final

from msgspec import Struct

from meshlight.backends.large_work import LARGE
from meshlight.domain.clock import Clock
from meshlight.domain.kept_ids import ID_MAX, SCANNED_MAX, KeptId, find_ids, ids_of_body
from meshlight.domain.operations import Operation
from meshlight.gateway.inference.request import JSON, InferenceRequest
from meshlight.gateway.inference.sinks import Sink
from meshlight.http_client.client import Headers
from meshlight.mesh.conversations import Conversations

KEPT_S: Final = 86_400.0
"""How long it is remembered which backend keeps something."""
STATEFUL: Final = frozenset[Operation](
    {"responses", "messages", "messages/count_tokens", "chat/completions", "other"}
)
"""Operations whose requests may name what one backend keeps."""
_MADE: Final = re.compile(rb'"id"\s*:\s*"(resp[_-][^"\\]{1,%d})"' % ID_MAX)
_HEAD: Final = 2_048
"""The id of a response is within so many bytes of its beginning."""
_TOOLS: Final = (b"code_interpreter", b"code_execution", b'"container')
"""What a request has whose answer may name a new container, or files that were made in it."""
_TOOLS_WITHIN: Final = LARGE // 2
"""Bytes at either end of a large body in which that is looked for: the messages are in the middle."""
_LONGEST: Final = 1_024
"""Bytes in which a name and its id fit."""


class KeptBy(Struct, frozen=True):
    """Something that a request names, and the backend and place that keep it."""

    what: str
    field: str
    owner: tuple[str, str]


class KeptState:
    """Which backend keeps what; for the event loop's thread."""

    def __init__(self, clock: Clock) -> None:
        self._own = Conversations(clock, KEPT_S)
        self._of_peers = Conversations(clock, KEPT_S)
        self.is_empty = True
        """Whether nothing was ever learned: then no request needs a look."""

    def owners(self, inbound: InferenceRequest) -> tuple[KeptBy, ...]:
        """Return what a request names that is known to be kept by one backend."""
        if self.is_empty or inbound.operation not in STATEFUL or inbound.content_type != JSON:
            return ()
        return tuple(
            KeptBy(kept.what, kept.field, owner)
            for kept in _named(inbound)
            if (owner := self._owner(_hash(kept.id), is_guest=inbound.guest is not None))[0]
        )

    def watch(self, inbound: InferenceRequest, sink: Sink, first: bytes, backend: str, place: str) -> Sink:
        """Learn from a good answer that begins; returns the sink for it, which also reads the rest if need be."""
        self.learn(inbound, first, backend, place)
        if not reads_answer(inbound):
            return sink
        return _WatchingSink(
            sink, partial(self._record, backend=backend, place=place, is_guest=inbound.guest is not None)
        )

    def learn(self, inbound: InferenceRequest, first: bytes, backend: str, place: str) -> None:
        """Learn from the beginning of a good answer."""
        if inbound.operation not in STATEFUL or inbound.content_type != JSON:
            return
        is_guest = inbound.guest is not None
        if inbound.operation == "responses" and (made := _MADE.search(first, 0, _HEAD)):
            self._record(made[1], backend, place, is_guest=is_guest)
        for kept in _named(inbound):
            if kept.field != "previous_response_id":  # some ignore one that they don't know
                self._record(kept.id, backend, place, is_guest=is_guest)

    def forget(self, backend: str) -> None:
        """Forget a removed backend."""
        self._own.forget(backend)
        self._of_peers.forget(backend)

    def _owner(self, mark: bytes, *, is_guest: bool) -> tuple[str, str]:
        own = self._own.home(mark)
        return self._of_peers.home(mark) if is_guest and not own[0] else own

    def _record(self, found: bytes, backend: str, place: str, *, is_guest: bool) -> None:
        """Remember who keeps something; what another one is known to keep stays there, whoever else names it."""
        mark = _hash(found)
        if self._owner(mark, is_guest=is_guest) in {("", ""), (backend, place)}:
            self.is_empty = False
            (self._of_peers if is_guest else self._own).record(mark, backend, place)


def reads_answer(inbound: InferenceRequest) -> bool:
    """Whether the whole answer to a request may name what its backend keeps."""
    if inbound.operation not in STATEFUL or inbound.content_type != JSON:
        return False
    body = inbound.body
    if len(body) > LARGE:
        body = body[:_TOOLS_WITHIN] + body[-_TOOLS_WITHIN:]
    return any(name in body for name in _TOOLS)


class _WatchingSink:
    """Passes an answer on to another sink, and reads the ids in it."""

    __slots__ = ("_held", "_left", "_record", "_sink")

    def __init__(self, sink: Sink, record: Callable[[bytes], None]) -> None:
        self._sink = sink
        self._record = record
        self._held = b""
        """The end of what was read, which may be the beginning of a name with its id."""
        self._left = SCANNED_MAX

    async def start(self, status: int, headers: Headers) -> None:
        """Send the head."""
        await self._sink.start(status, headers)

    async def write(self, data: bytes) -> None:
        """Send a piece of the body."""
        self._read(data)
        await self._sink.write(data)

    def offer(self, data: bytes, chunk: bytes = b"") -> bool:
        """Send a piece of the body now, if there is room."""
        if not self._sink.offer(data, chunk):
            return False
        self._read(data)
        return True

    async def end(self, last: bytes = b"") -> None:
        """Send the rest."""
        self._read(last)
        await self._sink.end(last)

    def abort(self) -> None:
        """Leave the answer unfinished."""
        self._sink.abort()

    def _read(self, data: bytes) -> None:
        if self._left <= 0:
            return
        self._left -= len(data)
        piece = self._held + data
        for kept in find_ids(piece):
            if kept.field != "previous_response_id":  # the request's own, as an echo
                self._record(kept.id)
        self._held = piece[-_LONGEST:]


def _named(inbound: InferenceRequest) -> Iterator[KeptId]:
    """Yield what a request names, but for responses that are stored here and can be continued anywhere."""
    stored = inbound.stored
    for kept in ids_of_body(inbound.body) if inbound.kept_ids is None else inbound.kept_ids:
        if kept.field == "previous_response_id" and (
            stored is None or stored.knows(kept.id.decode("utf-8", "replace"))
        ):
            continue
        yield kept


def _hash(found: bytes) -> bytes:
    return blake2b(found, digest_size=16).digest()
