"""Browsers without a key that ask to be let in: only those of this user may."""

import asyncio
from collections.abc import Callable

from msgspec import Struct

from meshlight.backends.socket_owner import is_own, read_connection_owner
from meshlight.domain.errors import OriginForbidden
from meshlight.gateway.access.let_in import LetIn

OwnerOf = Callable[[str, int, int], int | None]
"""Returns whose program is at a local address and port that is connected to a port here; None if unknown."""


class SignInAsked(Struct, frozen=True, kw_only=True):
    """What the browser shows while it waits; `tray` says whether a tray is there to answer."""

    code: str
    left_s: float
    tray: bool


class SignIn:
    """Lets only browsers of this user ask; `has_tray` tells whether a program such as the tray follows the events."""

    def __init__(
        self,
        let_in: LetIn,
        port: int,
        has_tray: Callable[[], bool],
        owner_of: OwnerOf = read_connection_owner,
    ) -> None:
        self.let_in = let_in
        self._port = port
        self._has_tray = has_tray
        self._owner_of = owner_of

    async def ask(self, client: tuple[str, int] | None, cookie: str) -> tuple[str, SignInAsked]:
        """Begin a request of the browser at this address; returns what is to be its cookie, and what it shows.

        `cookie` is the one that it sent. Raises OriginForbidden for another user's, TooManyRequests too often.
        """
        if client is not None:
            owner = await asyncio.to_thread(self._owner_of, client[0], client[1], self._port)
            if not is_own(owner):
                raise OriginForbidden(
                    "A program of another user of this machine can't ask to be let in.",
                    "Run Meshlight as yourself, or paste its key.",
                )
        token, pending = self.let_in.ask(cookie)
        return token, SignInAsked(code=pending.code, left_s=pending.left_s, tray=self._has_tray())
