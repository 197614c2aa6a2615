"""The page's sign-in: a one-time code in its address is exchanged for a cookie that scripts can't read."""

import hashlib
import secrets
from collections.abc import Callable

COOKIE = "meshlight_session"
CODE_S = 60.0
CODES = 32
"""Unused codes at most; the oldest is dropped."""
IDLE_S = 30 * 24 * 3600.0
SESSIONS = 64
"""Sessions at most; the one unused for longest is dropped."""
PATHS = ("/mesh", "/metrics")
"""Where browsers send the cookie. Browsers share cookies among all ports of a host, so with the path `/` the page
of every other program on this machine would get this one."""


class Sessions:
    """Codes and sessions, stored in memory as hashes only: a restart ends them, and the page asks for the key.

    `clock` gives monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._codes: dict[bytes, float] = {}
        self._sessions: dict[bytes, float] = {}
        """Hash of the token → when it was last used, least recently used first."""

    def code(self) -> str:
        """Return a new code that `exchange` accepts once, within 60 seconds."""
        code = secrets.token_urlsafe(32)
        self._codes[_hash(code)] = self._clock() + CODE_S
        while len(self._codes) > CODES:
            del self._codes[next(iter(self._codes))]
        return code

    def exchange(self, code: str) -> str | None:
        """Return a session's token for a code; None if the code was used, is too old or was never issued."""
        until = self._codes.pop(_hash(code), None)
        if until is None or self._clock() > until:
            return None
        return self.open()

    def open(self) -> str:
        """Open a session for a user who has shown the key, and return its token (256 bit)."""
        token = secrets.token_urlsafe(32)
        self._sessions[_hash(token)] = self._clock()
        while len(self._sessions) > SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return token

    def accepts(self, token: str) -> bool:
        """Whether the token belongs to a session; this use extends it by another 30 days.

        Only hashes are looked up, so the time this takes reveals nothing of the tokens.
        """
        key = _hash(token)
        used = self._sessions.pop(key, None)
        if used is None or self._clock() - used > IDLE_S:
            return False
        self._sessions[key] = self._clock()
        return True

    def close_others(self, token: str) -> None:
        """End every session but this one, and drop the unused codes: the key that opened them has changed."""
        kept = self._sessions.get(_hash(token))
        self._codes.clear()
        self._sessions.clear()
        if kept is not None:
            self._sessions[_hash(token)] = kept

    def close(self, token: str) -> None:
        """End a session."""
        self._sessions.pop(_hash(token), None)


def set_cookies(token: str) -> tuple[str, ...]:
    """Return the `Set-Cookie` headers that give a browser the session, one for each path it is used at."""
    return tuple(
        f"{COOKIE}={token}; Path={path}; Max-Age={int(IDLE_S)}; HttpOnly; SameSite=Strict" for path in PATHS
    )


def read_cookie(header: bytes) -> str | None:
    """Return the session's token from a `Cookie` header, or None."""
    for pair in header.split(b";"):
        name, _, value = pair.strip().partition(b"=")
        if name == _NAME:
            return value.decode("latin-1")
    return None


_NAME = COOKIE.encode()


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
