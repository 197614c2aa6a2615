"""Real multicast DNS, on the loopback interface alone: nothing leaves the machine."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator

import pytest

from meshlight.peers.mdns.adapter import ZeroconfAdapter, _explain, open_mdns
from meshlight.peers.mdns.interfaces import Interface
from meshlight.peers.mdns.records import MESHLIGHT, Announcement, ReceivedAnnouncement, read

LOOPBACK = (Interface("lo", 1, ("127.0.0.1",), ()),)
TOLD = Announcement(id="ab" * 32, name="Anna's Büro.1", port=6375, door=6376)


class Ear:
    """Keeps what is told of each instance, and wakes who waits."""

    def __init__(self) -> None:
        self.gone: dict[str, bool] = {}
        self._bell = asyncio.Event()

    def __call__(self, instance: str, is_gone: bool) -> None:
        self.gone[instance] = is_gone
        self._bell.set()

    async def next(self) -> None:
        await asyncio.wait_for(self._bell.wait(), 10)
        self._bell.clear()


async def _open() -> ZeroconfAdapter:
    adapter = await open_mdns(LOOPBACK)
    if isinstance(adapter, str):
        pytest.skip(f"no multicast on this machine's loopback interface: {adapter}")
    assert isinstance(adapter, ZeroconfAdapter)
    return adapter


@pytest.fixture
async def pair() -> AsyncIterator[tuple[ZeroconfAdapter, ZeroconfAdapter]]:
    one, other = await _open(), await _open()
    yield one, other
    await one.close(goodbye=True)
    await other.close(goodbye=True)


def heard(adapter: ZeroconfAdapter, instance: str) -> ReceivedAnnouncement | None:
    raw = adapter.known(instance)
    return read(raw, on_loopback=True) if raw is not None else None


async def test_what_one_announces_the_other_hears_changes_and_goodbye_too(
    pair: tuple[ZeroconfAdapter, ZeroconfAdapter],
) -> None:
    one, other = pair
    ear = Ear()
    await other.browse(ear)
    await one.announce(TOLD)
    assert one.own == f"Meshlight Anna's Büro 1 abababab.{MESHLIGHT}"
    while one.own not in ear.gone:
        await ear.next()
    found = heard(other, one.own)
    assert found is not None
    assert (found.id, found.name, found.models) == (TOLD.id, "Anna's Büro.1", 0)
    for models in (5, 0, 5):
        await one.announce(Announcement(id=TOLD.id, name=TOLD.name, port=6375, door=6376, models=models))
        while (found := heard(other, one.own)) is None or found.models != models:
            await ear.next()
    name = one.own
    await one.withdraw()
    while not ear.gone[name]:
        await ear.next()
    assert other.known(name) is None


async def test_a_taken_name_gets_a_number_and_keeps_it(pair: tuple[ZeroconfAdapter, ZeroconfAdapter]) -> None:
    one, other = pair
    await one.announce(TOLD)
    await other.announce(TOLD)
    assert other.own == one.own.replace("abababab", "abababab-2")
    await other.announce(Announcement(id=TOLD.id, name=TOLD.name, port=6375, door=6376, models=1))
    assert other.own.endswith(f"abababab-2.{MESHLIGHT}")
    await other.announce(Announcement(id=TOLD.id, name="another", port=6375, door=6376))
    assert other.own == f"Meshlight another abababab.{MESHLIGHT}"


async def test_one_that_is_asked_answers_and_one_that_is_not_there_does_not(
    pair: tuple[ZeroconfAdapter, ZeroconfAdapter],
) -> None:
    one, other = pair
    await one.announce(TOLD)
    raw = await other.query(one.own)
    assert raw is not None
    assert read(raw, on_loopback=True) is not None
    for name in (
        f"nobody.{MESHLIGHT}",
        "x._http._tcp.local.",
        f"{'n' * 300}.{MESHLIGHT}",
        f"\x07.{MESHLIGHT}",
    ):
        assert await other.query(name) is None
        assert other.known(name) is None


async def test_without_an_interface_it_says_so() -> None:
    words = await open_mdns(())
    assert isinstance(words, str)
    assert words.startswith("This machine is on no network")


@pytest.mark.parametrize(
    ("error", "part"),
    [
        (OSError(errno.EADDRINUSE, "in use"), "disallow-other-stacks=no"),
        (OSError(errno.EACCES, "denied"), "firewall"),
        (OSError(errno.EMFILE, "Too many open files"), "(Too many open files)"),
        (RuntimeError("No adapter found"), "the network is changing"),
    ],
)
def test_a_network_that_can_t_be_opened_is_told_with_a_way_out(
    error: OSError | RuntimeError, part: str
) -> None:
    assert part in _explain(error)
