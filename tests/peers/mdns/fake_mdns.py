"""A network that exists in the test alone, on the stage's clock, with Sightings that listen to it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from fake_clock import Clock
from meshlight.peers.mdns.adapter import MdnsAdapter, OnEvent
from meshlight.peers.mdns.browser import DiscoveredPeers
from meshlight.peers.mdns.interfaces import Interface
from meshlight.peers.mdns.records import MESHLIGHT, Announcement, RawService, instance_of, to_txt

HOME = (Interface("wlan0", 3, ("192.168.1.5",), ("fd00::5",)),)
OFFICE = (Interface("wlan0", 3, ("10.9.8.7",), ()),)
START_WALL = 1_700_000_000.0


def node_id(number: int) -> str:
    """The id of the n-th other machine."""
    return f"{number:064x}"


def told(number: int, **fields: object) -> Announcement:
    """What the n-th other machine announces."""
    given = {"id": node_id(number), "name": f"node {number}", "port": 6375, "door": 6376} | fields
    return Announcement(**given)  # type: ignore[arg-type]


def raw(told: Announcement, address: str, instance: str = "", **changed: str) -> RawService:
    """An announcement as it comes from a machine at this address."""
    said = to_txt(told) | changed
    return RawService(
        service=MESHLIGHT,
        instance=instance or instance_of(told),
        server=f"host-{address.replace('.', '-')}.local.",
        port=told.port,
        addresses=(address,),
        properties={key.encode(): value.encode() for key, value in said.items()},
    )


class FakeAir:
    """One opening of the network."""

    def __init__(self, mdns: Ether) -> None:
        self._ether = mdns
        self._on_event: OnEvent | None = None
        self.own = ""
        self.heard: dict[str, RawService] = {}
        self.asked: list[str] = []
        self.browsed = 0
        self.said: list[Announcement | None] = []
        self.said_at: list[float] = []
        self.closed: str = ""

    async def browse(self, on_event: OnEvent | None) -> None:
        self._on_event = on_event
        if on_event is not None:
            self.browsed += 1
            self.heard |= self._ether.there
            for instance in self.heard:
                on_event(instance, False)

    def known(self, instance: str) -> RawService | None:
        return self.heard.get(instance)

    async def ask(self, instance: str) -> RawService | None:
        self.asked.append(instance)
        if self._ether.gate is not None:
            await self._ether.gate.wait()
        found = self._ether.there.get(instance)
        if found is not None:
            self.heard[instance] = found
        return found

    async def announce(self, told: Announcement) -> None:
        if self._ether.refusal is not None:
            raise self._ether.refusal
        self.own = instance_of(told)
        self._note(told)

    async def withdraw(self) -> None:
        self.own = ""
        self._note(None)

    async def close(self, *, goodbye: bool) -> None:
        self.closed = "goodbye" if goodbye else "silent"

    def hear(self, instance: str, *, is_gone: bool = False) -> None:
        if self._on_event is not None:
            self._on_event(instance, is_gone)

    def _note(self, told: Announcement | None) -> None:
        self.said.append(told)
        self.said_at.append(self._ether.clock())


class Ether:
    """The network, this machine on it, and its interfaces; `there` is who answers."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.wall_ahead = START_WALL
        self.interfaces: tuple[Interface, ...] = HOME
        self.there: dict[str, RawService] = {}
        self.airs: list[FakeAir] = []
        self.refuses_open = ""
        self.refusal: OSError | None = None
        self.gate: asyncio.Event | None = None
        self.tries = 0
        self.changes: list[float] = []
        self.paired: set[str] = set()
        self.sightings = DiscoveredPeers(
            self.clock,
            self.clock.later,
            is_known=self.paired.__contains__,
            wall=lambda: self.clock() + self.wall_ahead,
            find=lambda: self.interfaces,
            open_air=self._open,
        )
        self.sightings.on_change = lambda: self.changes.append(self.clock())

    @property
    def air(self) -> FakeAir:
        """The network as it is open now."""
        return self.airs[-1]

    async def _open(self, interfaces: Sequence[Interface]) -> MdnsAdapter | str:
        self.tries += 1
        if self.refuses_open or not interfaces:
            return self.refuses_open or "This machine is on no network."
        self.airs.append(FakeAir(self))
        return self.air

    def say(self, *announcements: RawService) -> None:
        """Have machines announce themselves."""
        for one in announcements:
            self.there[one.instance] = self.air.heard[one.instance] = one
            self.air.hear(one.instance)

    def leave(self, one: RawService) -> None:
        """Have one say goodbye."""
        del self.there[one.instance], self.air.heard[one.instance]
        self.air.hear(one.instance, is_gone=True)

    async def live(self, seconds: float) -> None:
        """Let time pass in small steps, and whatever falls due happen."""
        await self._settle()
        for _ in range(round(seconds / 0.25)):
            self.clock.pass_time(0.25)
            await self._settle()

    async def _settle(self) -> None:
        """Let everything run that waits for nothing; a look at the interfaces is in a thread, and is waited for."""
        for _ in range(12):
            await asyncio.sleep(0)
        while (task := self.sightings._aerial._round) is not None and self.gate is None:
            await asyncio.wait((task,))
            for _ in range(12):
                await asyncio.sleep(0)
