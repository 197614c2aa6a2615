"""Following a peer to another address: where it is announced, and has proven that it is the one."""

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

AGAIN_S = 5.0
"""How long after a try in vain the next one is made, while the peer is still lost and announced elsewhere."""
TRY_S = 2.0


class AddressUpdate:
    """Looks for lost peers where they announce themselves.

    An announcement proves nothing, and anybody can make one: a peer's address is changed only once a handshake with
    its key has succeeded at the new one, so nobody can lead a node astray. `lost` gives the backend of a peer that
    is down and seen at other addresses; `put` writes a backend down.
    """

    def __init__(
        self,
        trust: Trust,
        lost: Callable[[str], tuple[Backend, Sighting] | None],
        put: Callable[[Backend], Awaitable[None]],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
        later: CallLater,
    ) -> None:
        self._trust = trust
        self._lost = lost
        self._put = put
        self._spawn = spawn
        self._later = later
        self._looking: set[str] = set()

    def look(self, peer_id: str) -> None:
        """Look for a peer, if it is lost and not looked for already."""
        found = None if peer_id in self._looking else self._lost(peer_id)
        if found is not None:
            self._looking.add(peer_id)
            self._spawn(self._follow(peer_id, *found))

    async def _follow(self, peer_id: str, backend: Backend, sighting: Sighting) -> None:
        try:
            for address in sighting.addresses:
                host = f"[{address}]" if ":" in address else address
                url = f"https://{host}:{sighting.port}"
                if await self._is_there(peer_id, url):
                    await self._put(replace(backend, url=url))
                    return
        finally:
            self._looking.discard(peer_id)
        self._later(AGAIN_S, lambda: self.look(peer_id))

    async def _is_there(self, peer_id: str, url: str) -> bool:
        try:
            upstream = Upstream(parse_address(url), tls=lambda: self._trust.client(peer_id))
            try:
                await upstream.fetch("GET", "/peer/catalog", timeout_s=TRY_S)
            finally:
                upstream.close()
        except MeshlightError:
            return False
        return True
