"""An engine that answers when the test says so, and records how many requests it had at the same time."""

import asyncio
from collections import deque

from faults.raw import RawBackend, complete
from servers.byte_server import Peer, Request

WAIT_S = 30.0


class HeldEngine(RawBackend):
    """Keeps each chat request until `answer` or `answer_all`; `says` is its answer. It has no other API."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.most = 0
        """The most requests that it ever had at the same time."""
        self.says = complete(b'{"ok": true}', b"content-type: application/json")
        self._held: deque[asyncio.Event] = deque()
        self._running = 0
        self._has_changed = asyncio.Event()
        self._is_open = False

    @property
    def held(self) -> int:
        """Requests that wait for their answer."""
        return len(self._held)

    async def until_held(self, count: int) -> None:
        """Wait until so many requests are here."""
        async with asyncio.timeout(WAIT_S):
            while len(self._held) != count:
                self._has_changed.clear()
                await self._has_changed.wait()

    def answer(self) -> None:
        """Answer the oldest request."""
        self._held.popleft().set()

    def answer_all(self) -> None:
        """Answer the requests that are here, and from now on each one soon."""
        self._is_open = True
        while self._held:
            self.answer()

    async def answer_post(self, peer: Peer, request: Request) -> None:
        if request.target != "/v1/chat/completions":
            await peer.send(complete(b"{}", status=b"404 Not Found"))
            return
        self._running += 1
        self.most = max(self.most, self._running)
        gate = asyncio.Event()
        try:
            if not self._is_open:
                self._held.append(gate)
                self._has_changed.set()
                released, gone = asyncio.create_task(gate.wait()), asyncio.create_task(peer.until_gone())
                try:
                    await asyncio.wait({released, gone}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    released.cancel()
                    gone.cancel()
            for _ in range(5):  # other requests get their chance to come too early
                await asyncio.sleep(0)
        finally:
            self._running -= 1
            if gate in self._held:
                self._held.remove(gate)
            self._has_changed.set()
        await peer.send(self.says)
