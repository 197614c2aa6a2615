"""What a connection needs of the lane, where ordinary requests are answered without a task: `inference/lane.py`."""

from typing import Any, Protocol, TypeVar, runtime_checkable

from meshlight.gateway.server.asgi import ASGIApp, Scope
from meshlight.gateway.server.disconnect import DisconnectListeners
from meshlight.gateway.server.request_cycle import RequestCycle


class LaneHead(Protocol):
    """A request's head that the lane knows."""

    @property
    def scope(self) -> Scope:
        """What the parser made of it."""

    @property
    def shows_key(self) -> bool:
        """Whether the key is in it."""


H = TypeVar("H", bound=LaneHead)


class LaneConnection(Protocol):
    """What the lane needs of a connection."""

    disconnect: DisconnectListeners

    def carry_on(self, cycle: RequestCycle, app: ASGIApp) -> None:
        """Have a task answer a request after all."""


class Lane(Protocol[H]):
    """Answers what is ordinary at once, and leaves all else to the application."""

    def forget_heads(self) -> None:
        """Know no head any more: who may come in has changed."""

    def find(self, data: bytes, end: int) -> H | None:
        """Return the head that received bytes begin with, up to `end`, if it is known and the rest is its body.

        None while the lane is switched off, from both this and `look_at`.
        """

    def find_begun(self, data: bytes, end: int) -> tuple[H, int] | None:
        """Return such a head if its body is not all there, and how many bytes of it are still to come."""

    def look_at(self, scope: Scope, data: bytes) -> H | None:
        """Return the head that the parser has read from the beginning of `data`, if it is one for the lane."""

    def begin(self, head: H, body: bytes, cycle: RequestCycle, connection: LaneConnection) -> bool:
        """Begin to answer a request; False if it is not for the lane, and nothing was sent."""


@runtime_checkable
class HasLane(Protocol):
    """An application with a lane beside it."""

    lane: Lane[Any] | None
