"""Follows a peer to another address, once it has proven there that it is the peer."""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from msgspec.structs import replace

from meshlight.domain.backend import Backend
from meshlight.domain.clock import CallLater
from meshlight.domain.errors import MeshlightError
from meshlight.domain.peers import Sighting
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream
from meshlight.peers.trust import Trust

RETRY_S = 5.0
"""How long after a failed try the next one is made, while the peer is still down and announced elsewhere."""
TRY_S = 2.0


class AddressUpdate:
    """Tries the announced addresses of peers that are down.

    Anybody can announce anything, so a peer's address is changed only after a TLS handshake with its key has
    succeeded at the new one. `lost` returns the backend of a peer that is down and announced elsewhere, and that
    announcement; `put` saves a changed backend, `spawn` runs a task in the background.
    """

    def __init__(
        self,
        trust: Trust,
        lost: Callable[[str], tuple[Backend, Sighting] | None],
        put: Callable[[Backend], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None]], object],
        later: CallLater,
    ) -> None:
        self._trust = trust
        self._lost = lost
        self._put = put
        self._spawn = spawn
        self._later = later
        self._running: set[str] = set()

    def check(self, peer_id: str) -> None:
        """Try a peer's announced addresses if it is lost, unless that runs already."""
        found = None if peer_id in self._running else self._lost(peer_id)
        if found is not None:
            self._running.add(peer_id)
            self._spawn(self._try_addresses(peer_id, *found))

    async def _try_addresses(self, peer_id: str, backend: Backend, found: Sighting) -> None:
        try:
            for address in found.addresses:
                host = f"[{address}]" if ":" in address else address
                url = f"https://{host}:{found.port}"
                if await self._is_at(peer_id, url):
                    await self._put(replace(backend, url=url))
                    return
        finally:
            self._running.discard(peer_id)
        self._later(RETRY_S, lambda: self.check(peer_id))

    async def _is_at(self, peer_id: str, url: str) -> bool:
        try:
            upstream = Upstream(parse_address(url), tls=lambda: self._trust.client(peer_id))
            try:
                await upstream.fetch("GET", "/peer/catalog", timeout_s=TRY_S)
            finally:
                upstream.close()
        except MeshlightError:
            return False
        return True
