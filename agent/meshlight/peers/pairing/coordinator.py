"""The pairing under way, whoever asked for it, and how the last one ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from meshlight.domain.errors import Conflict, MeshlightError, NotFound, PairingError
from meshlight.domain.peers import PairingState, PairingView
from meshlight.peers.pairing.session import LocalPeer, Paired, PairingSession, request_pairing

log = logging.getLogger(__name__)


class PairingCoordinator:
    """At most one pairing at a time; `welcome` keeps the peer that it ends with."""

    def __init__(self, welcome: Callable[[Paired], Awaitable[None]]) -> None:
        self._welcome = welcome
        self._pairing: PairingSession | None = None
        self._asking = ""
        self._ended: PairingView | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False
        self.on_change: Callable[[], None] = lambda: None

    async def ask(self, here: LocalPeer, tries: Sequence[tuple[str, int]], expected_id: str | None) -> None:
        """Ask at each address until one answers. Raises PairingError, or Conflict while a pairing is under way."""
        if self._is_under_way:
            raise Conflict("A pairing is under way already.", "Confirm or refuse that one first.")
        self._asking, self._ended = tries[0][0], None
        self.on_change()
        try:
            pairing = await _first(here, tries, expected_id)
            if self._is_closed:
                pairing.stop("closed")
            else:
                self._take(pairing)
        finally:
            self._asking = ""
            self.on_change()

    def asked(self, pairing: PairingSession) -> None:
        """Take a request that came to the door, unless another pairing is under way."""
        if self._is_under_way or self._is_closed:
            pairing.stop("closed" if self._is_closed else "busy")
        else:
            self._take(pairing)

    async def confirm(self) -> None:
        """Say that the digits are the same on both machines; raises NotFound or PairingError."""
        await self._current().confirm()

    async def refuse(self) -> None:
        """Say that they differ, or that nobody wants this; raises NotFound."""
        await self._current().refuse()

    def view(self) -> PairingView | None:
        """Return how the pairing stands, or how the last one ended."""
        if self._pairing is not None:
            # It is paired when the peer is kept, and not before.
            return _shown(self._pairing, "confirmed" if self._pairing.state == "paired" else None)
        if self._asking:
            return PairingView(
                role="asking", state="waiting", name=self._asking, id="", digits="", why="", left_s=0.0
            )
        return self._ended

    async def close(self) -> None:
        """End a pairing under way, for both; there will be no other."""
        self._is_closed = True
        if self._pairing is not None:
            self._pairing.stop("closed")
        if self._task is not None:
            await asyncio.wait((self._task,))

    @property
    def _is_under_way(self) -> bool:
        return bool(self._asking) or (self._pairing is not None and self._pairing.state != "over")

    def _current(self) -> PairingSession:
        if self._pairing is None:
            raise NotFound("No pairing is under way.", "Ask another Meshlight to pair first.")
        return self._pairing

    def _take(self, pairing: PairingSession) -> None:
        self._pairing, self._ended = pairing, None
        pairing.on_change = self.on_change
        self._task = asyncio.get_running_loop().create_task(self._see_through(pairing))
        self.on_change()

    async def _see_through(self, pairing: PairingSession) -> None:
        ended: PairingView | None = None
        try:
            paired = await pairing.end()
            try:
                await self._welcome(paired)
            except (MeshlightError, OSError, ValueError) as error:
                ended = _shown(pairing, "over", _not_kept(error))
                log.warning("A peer could not be kept: %s", type(error).__name__)
        except PairingError as error:
            log.info("A pairing ended: %s", error.title)
        finally:
            if self._pairing is pairing:
                self._pairing, self._ended = None, ended or _shown(pairing)
                self.on_change()


async def _first(
    here: LocalPeer, tries: Sequence[tuple[str, int]], expected_id: str | None
) -> PairingSession:
    failed: PairingError | None = None
    for host, port in tries:
        try:
            return await request_pairing(here, host, port, expected_id)
        except PairingError as error:
            failed = failed or error
            if error.cause != "unreachable":
                raise
    raise failed or NotFound("It has no address.")


def _not_kept(error: Exception) -> str:
    """Say why a peer that was paired with could not be kept."""
    why = f"{error.title} {error.hint}".strip() if isinstance(error, MeshlightError) else ""
    if isinstance(error, OSError):
        why = f"{error.strerror or type(error).__name__}."
    return f"The other machine has paired, but it could not be written down here: {why} Pair them anew."


def _shown(pairing: PairingSession, state: PairingState | None = None, why: str = "") -> PairingView:
    return PairingView(
        role=pairing.role,
        state=state or pairing.state,
        name=pairing.other_name,
        id=pairing.other_id,
        digits=pairing.digits,
        why=why or pairing.why,
        left_s=round(pairing.left_s, 1),
    )
