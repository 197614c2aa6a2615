"""A network that exists in the test alone, on a fake clock, with a `DiscoveredPeers` on it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fake_clock import Clock
from meshlight.peers.mdns.browser import DiscoveredPeers
from meshlight.peers.mdns.interfaces import Interface
from meshlight.peers.mdns.multicast_dns import MdnsAdapter, OnEvent
from meshlight.peers.mdns.records import MESHLIGHT, Announcement, RawService, instance_of, to_txt

HOME = (Interface("wlan0", 3, ("192.168.1.5",), ("fd00::5",)),)
OFFICE = (Interface("wlan0", 3, ("10.9.8.7",), ()),)
START_WALL = 1_700_000_000.0


def node_id(number: int) -> str:
    """The id of the n-th other machine."""
    return f"{number:064x}"


def announcement(number: int, **fields: object) -> Announcement:
    """What the n-th other machine announces."""
    given = {"id": node_id(number), "name": f"node {number}", "port": 6375, "door": 6376} | fields
    return Announcement(**given)  # type: ignore[arg-type]


def raw(announced: Announcement, address: str, instance: str = "", **changed: str) -> RawService:
    """An announcement as it is received from a machine at this address."""
    txt = to_txt(announced) | changed
    return RawService(
        service=MESHLIGHT,
        instance=instance or instance_of(announced),
        server=f"host-{address.replace('.', '-')}.local.",
        port=announced.port,
        addresses=(address,),
        properties={key.encode(): value.encode() for key, value in txt.items()},
    )


class FakeAdapter:
    """Multicast DNS as it was opened once."""

    def __init__(self, network: FakeNetwork) -> None:
        self._network = network
        self._on_event: OnEvent | None = None
        self.own = ""
        self.received: dict[str, RawService] = {}
        self.queried: list[str] = []
        self.browsed = 0
        self.announced: list[Announcement | None] = []
        self.announced_at: list[float] = []
        self.closed: str = ""

    async def browse(self, on_event: OnEvent | None) -> None:
        self._on_event = on_event
        if on_event is not None:
            self.browsed += 1
            self.received |= self._network.there
            for instance in self.received:
                on_event(instance, False)

    def known(self, instance: str) -> RawService | None:
        return self.received.get(instance)

    async def query(self, instance: str) -> RawService | None:
        self.queried.append(instance)
        if self._network.gate is not None:
            await self._network.gate.wait()
        found = self._network.there.get(instance)
        if found is not None:
            self.received[instance] = found
        return found

    async def announce(self, announcement: Announcement) -> None:
        if self._network.refusal is not None:
            raise self._network.refusal
        self.own = instance_of(announcement)
        self._record(announcement)

    async def withdraw(self) -> None:
        self.own = ""
        self._record(None)

    async def close(self, *, goodbye: bool) -> None:
        self.closed = "goodbye" if goodbye else "silent"

    def receive(self, instance: str, *, is_gone: bool = False) -> None:
        if self._on_event is not None:
            self._on_event(instance, is_gone)

    def _record(self, announcement: Announcement | None) -> None:
        self.announced.append(announcement)
        self.announced_at.append(self._network.clock())


class FakeNetwork:
    """The network, and this machine with its interfaces on it; `there` are the announcements of the others."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.wall_ahead = START_WALL
        self.interfaces: tuple[Interface, ...] = HOME
        self._told: tuple[Interface, ...] | None = None
        self.there: dict[str, RawService] = {}
        self.adapters: list[FakeAdapter] = []
        self.refuses_open = ""
        self.refusal: OSError | None = None
        self.gate: asyncio.Event | None = None
        self.tries = 0
        self.changes: list[float] = []
        self.paired: set[str] = set()
        self.discovered = DiscoveredPeers(
            self.clock,
            self.clock.later,
            is_known=self.paired.__contains__,
            wall=lambda: self.clock() + self.wall_ahead,
            find=lambda: self.interfaces,
            open_adapter=self._open,
            on_change=lambda: self.changes.append(self.clock()),
            news=self,
        )

    @property
    def adapter(self) -> FakeAdapter:
        """The adapter that is open now."""
        return self.adapters[-1]

    def may_differ(self) -> bool:
        differ = self.interfaces != self._told
        self._told = self.interfaces
        return differ

    def close(self) -> None:
        self._told = None

    async def _open(self, interfaces: Sequence[Interface]) -> MdnsAdapter | str:
        self.tries += 1
        if self.refuses_open or not interfaces:
            return self.refuses_open or "This machine is on no network."
        self.adapters.append(FakeAdapter(self))
        return self.adapter

    def announce_from(self, *announcements: RawService) -> None:
        """Have machines announce themselves."""
        for one in announcements:
            self.there[one.instance] = self.adapter.received[one.instance] = one
            self.adapter.receive(one.instance)

    def leave(self, one: RawService) -> None:
        """Have one leave with a goodbye."""
        del self.there[one.instance], self.adapter.received[one.instance]
        self.adapter.receive(one.instance, is_gone=True)

    async def live(self, seconds: float) -> None:
        """Let time pass in small steps, and whatever falls due happen."""
        await self._settle()
        for _ in range(round(seconds / 0.25)):
            self.clock.pass_time(0.25)
            await self._settle()

    async def _settle(self) -> None:
        """Let everything run that waits for nothing; the interfaces are read in a thread, which is waited for."""
        for _ in range(12):
            await asyncio.sleep(0)
        while (task := self.discovered._monitor._poll) is not None and self.gate is None:
            await asyncio.wait((task,))
            for _ in range(12):
                await asyncio.sleep(0)
