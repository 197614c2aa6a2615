"""The tokens with which a cluster's services are used: one for each, kept in memory, renewed in time."""

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable

import msgspec
from msgspec import Struct

from meshlight.domain.backend import Reason
from meshlight.domain.errors import RouteUnavailable

RENEW_AT = 0.8
"""The part of its life after which a token is renewed, while it still serves."""
LIFE_MAX_S = 86_400.0
LIFE_MIN_S = 60.0
"""No token is believed to end sooner: a wrong date in it must not lead to a new one for each request."""
RETRY_S = 5.0
"""A failed wish for a token is not repeated sooner; who asks meanwhile is told why."""
FRESH_S = 10.0
"""A token younger than this is not thrown away when one is refused: that was an older one, or renewing is no help."""
_GONE = Reason("backend-changed", "The cluster was changed or removed meanwhile.", "Send the request again.")


class _Claims(Struct, frozen=True):
    exp: float


class _Token(Struct, frozen=True):
    text: str
    since: float
    renew_at: float
    ends_at: float

    def __repr__(self) -> str:
        return "_Token(***)"


class _Refusal(Struct, frozen=True):
    why: Reason
    until: float


class Tokens:
    """Keeps one token for each service; whoever needs the same new one waits for the same request.

    `issue` asks the manager, and returns the token or the reason for none. `clock` is monotonic seconds, `unix` the
    cluster's time.
    """

    def __init__(
        self,
        issue: Callable[[str], Awaitable[str | Reason]],
        clock: Callable[[], float],
        unix: Callable[[], float],
    ) -> None:
        self._issue = issue
        self._clock = clock
        self._unix = unix
        self._tokens: dict[str, _Token] = {}
        self._refusals: dict[str, _Refusal] = {}
        self._flights: dict[str, asyncio.Task[str | Reason]] = {}

    async def get(self, service_id: str) -> str:
        """Return a token that is good now; raises WayClosed with the reason when there is none to be had."""
        token, now = self._tokens.get(service_id), self._clock()
        if token is not None and now < token.ends_at:
            if now >= token.renew_at and not self._is_refused(service_id, now):
                self._start(service_id)
            return token.text
        if self._is_refused(service_id, now):
            raise RouteUnavailable(self._refusals[service_id].why)
        flight = self._start(service_id)
        await asyncio.wait(
            (flight,)
        )  # not the task itself: who gives up waiting does not take it from the others
        found = _GONE if flight.cancelled() else flight.result()
        if isinstance(found, Reason):
            raise RouteUnavailable(found)
        return found

    def refused(self, service_id: str) -> None:
        """Forget a token that its service does not take, so that the next `get` asks for a new one."""
        token = self._tokens.get(service_id)
        if token is not None and self._clock() - token.since >= FRESH_S:
            del self._tokens[service_id]

    def keep(self, service_ids: set[str]) -> None:
        """Forget the tokens of services that are gone."""
        for service_id in self._tokens.keys() - service_ids:
            del self._tokens[service_id]
        for service_id in self._refusals.keys() - service_ids:
            del self._refusals[service_id]

    def close(self) -> None:
        """Ask for nothing any more."""
        self._tokens.clear()
        for flight in self._flights.values():
            flight.cancel()

    def _is_refused(self, service_id: str, now: float) -> bool:
        refusal = self._refusals.get(service_id)
        return refusal is not None and now < refusal.until

    def _start(self, service_id: str) -> asyncio.Task[str | Reason]:
        flight = self._flights.get(service_id)
        if flight is None:
            flight = self._flights[service_id] = asyncio.get_running_loop().create_task(
                self._renew(service_id)
            )
            flight.add_done_callback(lambda _: self._flights.pop(service_id, None))
        return flight

    async def _renew(self, service_id: str) -> str | Reason:
        found = await self._issue(service_id)
        now = self._clock()
        if isinstance(found, Reason):
            self._refusals[service_id] = _Refusal(found, now + RETRY_S)
            return found
        self._refusals.pop(service_id, None)
        life_s = self._life_s(found)
        self._tokens[service_id] = _Token(found, now, now + RENEW_AT * life_s, now + life_s)
        return found

    def _life_s(self, token: str) -> float:
        """Return for how long a token is good, by the date in it; what it is signed with is not ours to check."""
        part = token.split(".")[1] if token.count(".") == 2 else ""
        try:
            claims = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
            exp = msgspec.json.decode(claims, type=_Claims).exp
        except (binascii.Error, ValueError, RecursionError):  # msgspec's errors are ValueErrors
            return LIFE_MAX_S
        return min(max(exp - self._unix(), LIFE_MIN_S), LIFE_MAX_S)
