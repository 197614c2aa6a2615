"""Lets a browser in that has no key: it asks, and somebody at this machine allows it in the tray.

A browser that asks gets a short code, which the tray shows too, so that the user sees which browser it is; and a
cookie, without which nobody gets the session. Only one browser can ask at a time, for a minute. Programs of other
users can reach this port as well, so the one that asks must belong to this user, where the system tells.
"""

import hmac
import secrets
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from meshlight.domain.api_types import PendingSignIn
from meshlight.domain.clock import CallLater, Clock, Timer
from meshlight.domain.errors import Conflict, NotFound, TooManyRequests
from meshlight.gateway.access.sessions import Sessions

COOKIE: Final = "meshlight_asking"
PATH: Final = "/mesh/session/request"
LIFE_S: Final = 60.0
"""How long a browser may ask."""
PAUSE_S: Final = 5.0
"""Between the end of one request and the next one."""
REFUSED_PAUSE_S: Final = 60.0
"""After a refusal."""
REQUESTS_MAX: Final = 10
"""Requests in `WINDOW_S`, so that a program can't fill the screen with notifications."""
WINDOW_S: Final = 600.0
_DIGITS: Final = 10_000


class _Request(Struct):
    token: str
    code: str
    until: float
    is_allowed: bool = False


class LetIn:
    """At most one request at a time; for the event loop's thread. `on_change` is called with each change.

    `clock` gives monotonic seconds; `later` ends a request whose time is over.
    """

    def __init__(
        self, sessions: Sessions, clock: Clock, later: CallLater, on_change: Callable[[], None]
    ) -> None:
        self._sessions = sessions
        self._clock = clock
        self._later = later
        self._on_change = on_change
        self._timer: Timer | None = None
        self._request: _Request | None = None
        self._not_before = 0.0
        self._asked_at: list[float] = []

    @property
    def pending(self) -> PendingSignIn:
        """The browser that asks now."""
        request = self._current()
        if request is None or request.is_allowed:
            return PendingSignIn()
        return PendingSignIn(code=request.code, left_s=round(request.until - self._clock(), 1))

    def ask(self, token: str = "") -> tuple[str, PendingSignIn]:
        """Begin a request, or go on with the one of this token; return its token for the cookie.

        Raises TooManyRequests while another browser asks, and for one that asks too often.
        """
        now = self._clock()
        request = self._current()
        if request is not None:
            if not _is_same(request.token, token):
                raise _too_soon("Another browser is asking to be let in.", request.until - now)
            return token, self.pending
        self._asked_at = [at for at in self._asked_at if at > now - WINDOW_S]
        if now < self._not_before:
            raise _too_soon("A browser has asked just now.", self._not_before - now)
        if len(self._asked_at) >= REQUESTS_MAX:
            raise _too_soon("Browsers have asked too often.", self._asked_at[0] + WINDOW_S - now)
        self._asked_at.append(now)
        token = secrets.token_urlsafe(32)
        self._request = _Request(token, f"{secrets.randbelow(_DIGITS):04d}", now + LIFE_S)
        self._timer = self._later(LIFE_S, self._expire)
        self._on_change()
        return token, self.pending

    def answer(self, token: str) -> str | None:
        """Return the token of a session once the request was allowed, None while it waits.

        Raises NotFound if it was refused, has expired, or never was.
        """
        request = self._current()
        if request is None or not _is_same(request.token, token):
            raise NotFound("Nobody allowed this browser.", "Ask again, or type: meshlight open")
        if not request.is_allowed:
            return None
        self._forget()
        return self._sessions.open()

    def allow(self, code: str) -> None:
        """Let the browser in that shows this code; raises Conflict if it no longer asks."""
        request = self._asking(code)
        request.is_allowed = True
        self._on_change()

    def refuse(self, code: str) -> None:
        """Turn the browser away that shows this code; raises Conflict if it no longer asks."""
        self._asking(code)
        self._end(self._clock() + REFUSED_PAUSE_S)

    def close(self) -> None:
        """Forget the request, without a word: the service ends."""
        self._forget()

    def _asking(self, code: str) -> _Request:
        request = self._current()
        if request is None or request.is_allowed or not _is_same(request.code, code):
            raise Conflict("No browser asks with this code any more.", "Let it ask again.")
        return request

    def _current(self) -> _Request | None:
        """Return the request, unless its time is over."""
        if self._request is not None and self._clock() >= self._request.until:
            self._expire()
        return self._request

    def _expire(self) -> None:
        self._end(self._clock() + PAUSE_S)

    def _end(self, not_before: float) -> None:
        self._forget()
        self._not_before = not_before
        self._on_change()

    def _forget(self) -> None:
        self._request = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def asking_cookie(token: str) -> str:
    """Return the `Set-Cookie` header that binds a request to the browser that made it; an empty token removes it."""
    age = int(LIFE_S) if token else 0
    return f"{COOKIE}={token}; Path={PATH}; Max-Age={age}; HttpOnly; SameSite=Strict"


def _is_same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode(errors="surrogatepass"))


def _too_soon(why: str, wait_s: float) -> TooManyRequests:
    return TooManyRequests(why, f"Try again in {max(1, round(wait_s))} s, or type: meshlight open")
