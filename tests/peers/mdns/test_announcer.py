"""What the network hears of this machine: the latest, seldom, and a goodbye at the end."""

from __future__ import annotations

from itertools import pairwise

from meshlight.peers.mdns.announcer import GAP_S
from peers.mdns.fake_mdns import Ether, told


async def announced() -> Ether:
    mdns = Ether()
    await mdns.sightings.start()
    mdns.sightings.announce(told(1))
    await mdns.live(2)
    return mdns


async def test_nothing_is_announced_until_it_is_wanted() -> None:
    mdns = Ether()
    await mdns.sightings.start()
    await mdns.live(30)
    assert mdns.air.said == []
    assert not mdns.sightings.is_announced


async def test_a_hundred_changes_are_few_announcements_and_the_last_is_heard() -> None:
    mdns = await announced()
    for number in range(100):
        mdns.sightings.announce(told(1, models=number))
        await mdns.live(0.25 if number % 10 == 0 else 0)
    await mdns.live(2)
    assert mdns.air.said[-1] == told(1, models=99)
    assert len(mdns.air.said) <= 6
    assert all(later - earlier >= GAP_S for earlier, later in pairwise(mdns.air.said_at))


async def test_the_same_again_is_not_announced_again() -> None:
    mdns = await announced()
    for _ in range(10):
        mdns.sightings.announce(told(1))
        await mdns.live(2)
    assert mdns.air.said == [told(1)]


async def test_who_wants_to_be_seen_no_more_is_gone_at_once() -> None:
    mdns = await announced()
    mdns.sightings.announce(told(1, models=3))
    mdns.sightings.announce(None)
    await mdns.live(0.25)
    assert mdns.air.said[-1] is None
    assert not mdns.sightings.is_announced


async def test_a_network_that_refuses_is_told_and_tried_again() -> None:
    mdns = Ether()
    mdns.refusal = OSError("no")
    await mdns.sightings.start()
    mdns.sightings.announce(told(1))
    await mdns.live(2)
    assert mdns.sightings.problem.startswith("This machine could not be announced on the network")
    assert mdns.changes
    mdns.refusal = None
    await mdns.live(10)
    assert mdns.air.said == [told(1)]
    assert mdns.sightings.problem == ""


async def test_a_change_is_told_when_others_begin_to_see_this_machine() -> None:
    mdns = Ether()
    await mdns.sightings.start()
    await mdns.live(1)
    mdns.changes.clear()
    mdns.sightings.announce(told(1))
    await mdns.live(1)
    assert mdns.sightings.is_announced
    assert len(mdns.changes) == 1
