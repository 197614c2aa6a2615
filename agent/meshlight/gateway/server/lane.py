"""What a connection needs of the lane, where ordinary requests are answered without a task: `inference/lane.py`.

These are classes, no protocols: compiled, each call of them is one of a C function.
"""

from abc import ABC, abstractmethod
from typing import Generic, Protocol, TypeVar

from meshlight.gateway.server.asgi import ASGIApp, Scope
from meshlight.gateway.server.disconnect import DisconnectListeners
from meshlight.gateway.server.request_cycle import RequestCycle


class LaneHead:
    """A request's head that the lane knows."""

    __slots__ = ("scope", "shows_key")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        """What the parser made of it."""
        self.shows_key = False
        """Whether the key is in it."""


H = TypeVar("H", bound=LaneHead)


class LaneConnection(Protocol):
    """What the lane needs of a connection."""

    disconnect: DisconnectListeners

    def carry_on(self, cycle: RequestCycle, app: ASGIApp) -> None:
        """Have a task answer a request after all."""


class Lane(ABC, Generic[H]):
    """Answers what is ordinary at once, and leaves all else to the application."""

    @abstractmethod
    def forget_heads(self) -> None:
        """Know no head any more: who may come in has changed."""

    @abstractmethod
    def find(self, data: bytes) -> tuple[H, int] | None:
        """Return the head that received bytes begin with, if it is known and the rest is its body; and its beginning.

        None while the lane is switched off, from both this and `look_at`.
        """

    @abstractmethod
    def find_begun(self, data: bytes) -> tuple[H, int, int] | None:
        """Return such a head if its body is not all there, where that begins, and how much is to come."""

    @abstractmethod
    def look_at(self, scope: Scope, data: bytes) -> H | None:
        """Return the head that the parser has read from the beginning of `data`, if it is one for the lane."""

    @abstractmethod
    def begin(self, head: H, body: bytes, cycle: RequestCycle, connection: LaneConnection) -> bool:
        """Begin to answer a request; False if it is not for the lane, and nothing was sent."""
