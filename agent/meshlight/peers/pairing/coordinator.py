"""The one pairing that may run at a time, whichever side asked for it, and how the last one ended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from meshlight.domain.errors import Conflict, MeshlightError, NotFound, PairingError
from meshlight.domain.peers import PairingState, PairingView
from meshlight.peers.pairing.session import LocalPeer, Paired, PairingSession, request_pairing

log = logging.getLogger(__name__)


class PairingCoordinator:
    """Runs at most one pairing at a time.

    `add_peer` saves the peer that it ends with, `on_change` is called when `view` may have changed.
    """

    def __init__(
        self, add_peer: Callable[[Paired], Awaitable[None]], on_change: Callable[[], None] = lambda: None
    ) -> None:
        self._add_peer = add_peer
        self._on_change = on_change
        self._session: PairingSession | None = None
        self._asked_host = ""
        """The host that is being asked and has not answered yet."""
        self._ended: PairingView | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    async def ask(
        self, local: LocalPeer, addresses: Sequence[tuple[str, int]], expected_id: str | None
    ) -> None:
        """Ask at each address until one answers. Raises PairingError, or Conflict while a pairing is under way."""
        if self._is_under_way:
            raise Conflict("A pairing is under way already.", "Confirm or refuse that one first.")
        self._asked_host, self._ended = addresses[0][0], None
        self._on_change()
        try:
            session = await _first(local, addresses, expected_id, self._on_change)
            if self._is_closed:
                session.stop("closed")
            else:
                self._run(session)
        finally:
            self._asked_host = ""
            self._on_change()

    def receive(self, session: PairingSession) -> None:
        """Handle another node's request, which is refused while another pairing is under way."""
        if self._is_under_way or self._is_closed:
            session.stop("closed" if self._is_closed else "busy")
        else:
            self._run(session)

    async def confirm(self) -> None:
        """Confirm that both machines show the same digits; raises NotFound or PairingError."""
        await self._current().confirm()

    async def refuse(self) -> None:
        """End it because the digits differ or nobody wants it; raises NotFound."""
        await self._current().refuse()

    def view(self) -> PairingView | None:
        """Return the state of the pairing, or how the last one ended; None before the first."""
        if self._session is not None:
            # It counts as paired once the peer is saved.
            return _view(self._session, "confirmed" if self._session.state == "paired" else None)
        if self._asked_host:
            return PairingView(
                role="asking", state="waiting", name=self._asked_host, id="", digits="", why="", left_s=0.0
            )
        return self._ended

    async def close(self) -> None:
        """End a pairing under way, on both sides; no other may begin."""
        self._is_closed = True
        if self._session is not None:
            self._session.stop("closed")
        if self._task is not None:
            await asyncio.wait((self._task,))

    @property
    def _is_under_way(self) -> bool:
        return bool(self._asked_host) or (self._session is not None and self._session.state != "over")

    def _current(self) -> PairingSession:
        if self._session is None:
            raise NotFound("No pairing is under way.", "Ask another Meshlight to pair first.")
        return self._session

    def _run(self, session: PairingSession) -> None:
        self._session, self._ended = session, None
        self._task = asyncio.get_running_loop().create_task(self._finish(session))
        self._on_change()

    async def _finish(self, session: PairingSession) -> None:
        ended: PairingView | None = None
        try:
            paired = await session.end()
            try:
                await self._add_peer(paired)
            except (MeshlightError, OSError, ValueError) as error:
                ended = _view(session, "over", _not_saved(error))
                log.warning("A peer could not be saved: %s", type(error).__name__)
        except PairingError as error:
            log.info("A pairing ended: %s", error.title)
        finally:
            if self._session is session:
                self._session, self._ended = None, ended or _view(session)
                self._on_change()


async def _first(
    local: LocalPeer,
    addresses: Sequence[tuple[str, int]],
    expected_id: str | None,
    on_change: Callable[[], None],
) -> PairingSession:
    """Ask at each address until one answers; raises the PairingError of the first when none does."""
    first_error: PairingError | None = None
    for host, port in addresses:
        try:
            return await request_pairing(local, host, port, expected_id, on_change)
        except PairingError as error:
            first_error = first_error or error
            if error.cause != "unreachable":
                raise
    raise first_error or NotFound("It has no address.")


def _not_saved(error: Exception) -> str:
    """Return why a peer that was paired with could not be saved."""
    why = f"{error.title} {error.hint}".strip() if isinstance(error, MeshlightError) else ""
    if isinstance(error, OSError):
        why = f"{error.strerror or type(error).__name__}."
    return f"The other machine has paired, but it could not be written down here: {why} Pair them anew."


def _view(session: PairingSession, state: PairingState | None = None, why: str = "") -> PairingView:
    return PairingView(
        role=session.role,
        state=state or session.state,
        name=session.other_name,
        id=session.other_id,
        digits=session.digits,
        why=why or session.why,
        left_s=round(session.left_s, 1),
    )
