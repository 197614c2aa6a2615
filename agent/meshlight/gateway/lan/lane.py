"""The lane of the LAN listener: peers' ordinary requests are answered without a task, as those of this machine are.

Each peer has a lane of its own, since the same head may come from several, who may use different things.
"""

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Final

from meshlight.domain.config import Config
from meshlight.domain.errors import MeshlightError
from meshlight.domain.peers import Peer
from meshlight.gateway.inference.app import Inference
from meshlight.gateway.inference.begun import Begun
from meshlight.gateway.inference.headers import to_guest
from meshlight.gateway.inference.lane import KnownHead, Lane, LaneRequest
from meshlight.gateway.inference.relay import Relay
from meshlight.gateway.inference.request import (
    GUEST,
    InferenceRequest,
    request_header,
    visited_by,
)
from meshlight.gateway.inference.sinks import NamedCycle
from meshlight.gateway.inference.streaming import UsageTap
from meshlight.gateway.lan.app import Guests
from meshlight.gateway.server.asgi import ASGIApp, Receive, Scope, Send
from meshlight.gateway.server.lane import LaneConnection
from meshlight.gateway.server.request_cycle import RequestCycle
from meshlight.http_client.reply import Headers

_VIA: Final = b"x-meshlight-via"


class GuestLane(Lane):
    """The lane of one peer; `LanApp` says the same about what it may ask."""

    odd: ClassVar[frozenset[bytes]] = Lane.odd - {_VIA}
    translates: ClassVar[bool] = False
    is_guests: ClassVar[bool] = True

    def __init__(
        self,
        peer_id: str,
        guests: Guests,
        inference: Inference,
        relay: Relay,
        settings: Callable[[], Config],
    ) -> None:
        super().__init__(self, inference, relay, settings)
        self.guests = guests
        self.peer: Peer
        """The peer, while one of its requests begins."""
        self._peer_id = peer_id

    def admits(self, scope: Scope, settings: Config, /) -> bool | None:  # noqa: ARG002 - see Doorkeeper
        """Whether a request may be sent on; the handshake has shown whose it is."""
        return None if self.relay.is_circle(visited_by(request_header(scope["headers"], _VIA))) else True

    def look_at(self, scope: Scope, data: bytes) -> KnownHead | None:
        """Return the head of an ordinary request of the peer, and know it the next time."""
        head = super().look_at(scope, data)
        if head is not None:
            head.needs_look = True
        return head

    def begin(self, head: KnownHead, body: bytes, cycle: RequestCycle, connection: LaneConnection) -> bool:
        """Send a request on; False if it is not for the lane, and nothing was sent."""
        try:
            self.peer = peer = self.guests.find(self._peer_id)
            self.guests.enter(peer)
        except MeshlightError:  # the other road says what is wrong
            return False
        is_begun = False
        try:
            is_begun = super().begin(head, body, cycle, connection)
        finally:
            if not is_begun:
                self.guests.leave(peer)
        return is_begun

    def make_request(self, cycle: RequestCycle | NamedCycle, connection: LaneConnection) -> LaneRequest:
        """Return what carries one request of the peer."""
        return GuestRequest(self, cycle, connection)

    def look_into(self, head: KnownHead, inbound: InferenceRequest) -> InferenceRequest | None:
        """Return a request as the peer's."""
        return inbound.changed(
            guest=self.peer,
            visited=visited_by(request_header(head.headers, _VIA)),
        )


class GuestRequest(LaneRequest):
    """A peer's request in the lane: it counts as running, and gets what a peer may see."""

    __slots__ = ("_guests", "_peer")

    is_guests: ClassVar[bool] = True

    def __init__(self, lane: GuestLane, cycle: RequestCycle | NamedCycle, connection: LaneConnection) -> None:
        super().__init__(lane, cycle, connection)
        self._guests, self._peer = lane.guests, lane.peer

    def _to_client(self, headers: Headers, extra: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        return to_guest(headers, extra)

    def resuming(self, begun: Begun) -> ASGIApp:
        """Return what goes on with the request in a task."""
        return partial(self._resume, super().resuming(begun))

    async def _resume(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"][GUEST] = self._peer
        try:
            await app(scope, receive, send)
        finally:
            self._guests.leave(self._peer)

    def _end(self, tap: UsageTap, last: bytes) -> None:
        super()._end(tap, last)
        self._guests.leave(self._peer)

    def _fail(self, error: Exception) -> None:
        super()._fail(error)
        self._guests.leave(self._peer)


class GuestLanes:
    """The lanes of the peers."""

    def __init__(
        self, guests: Guests, inference: Inference, relay: Relay, settings: Callable[[], Config]
    ) -> None:
        self._guests = guests
        self._inference = inference
        self._relay = relay
        self._settings = settings
        self._lanes: dict[str, GuestLane] = {}

    def of(self, peer_id: str) -> GuestLane:
        """Return the lane of a peer."""
        lane = self._lanes.get(peer_id)
        if lane is None:
            paired = self._guests.peers
            self._lanes = {known: lane for known, lane in self._lanes.items() if known in paired}
            lane = self._lanes[peer_id] = GuestLane(
                peer_id, self._guests, self._inference, self._relay, self._settings
            )
        return lane
