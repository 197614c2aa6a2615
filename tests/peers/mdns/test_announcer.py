"""What the network hears of this machine: the latest, seldom, and a goodbye at the end."""

from __future__ import annotations

from itertools import pairwise

from mesh.ether import Ether, told
from meshlight.mesh.announcing import GAP_S


async def announced() -> Ether:
    ether = Ether()
    await ether.sightings.start()
    ether.sightings.announce(told(1))
    await ether.live(2)
    return ether


async def test_nothing_is_announced_until_it_is_wanted() -> None:
    ether = Ether()
    await ether.sightings.start()
    await ether.live(30)
    assert ether.air.said == []
    assert not ether.sightings.is_announced


async def test_a_hundred_changes_are_few_announcements_and_the_last_is_heard() -> None:
    ether = await announced()
    for number in range(100):
        ether.sightings.announce(told(1, models=number))
        await ether.live(0.25 if number % 10 == 0 else 0)
    await ether.live(2)
    assert ether.air.said[-1] == told(1, models=99)
    assert len(ether.air.said) <= 6
    assert all(later - earlier >= GAP_S for earlier, later in pairwise(ether.air.said_at))


async def test_the_same_again_is_not_announced_again() -> None:
    ether = await announced()
    for _ in range(10):
        ether.sightings.announce(told(1))
        await ether.live(2)
    assert ether.air.said == [told(1)]


async def test_who_wants_to_be_seen_no_more_is_gone_at_once() -> None:
    ether = await announced()
    ether.sightings.announce(told(1, models=3))
    ether.sightings.announce(None)
    await ether.live(0.25)
    assert ether.air.said[-1] is None
    assert not ether.sightings.is_announced


async def test_a_network_that_refuses_is_told_and_tried_again() -> None:
    ether = Ether()
    ether.refusal = OSError("no")
    await ether.sightings.start()
    ether.sightings.announce(told(1))
    await ether.live(2)
    assert ether.sightings.problem.startswith("This machine could not be announced on the network")
    assert ether.changes
    ether.refusal = None
    await ether.live(10)
    assert ether.air.said == [told(1)]
    assert ether.sightings.problem == ""


async def test_a_change_is_told_when_others_begin_to_see_this_machine() -> None:
    ether = Ether()
    await ether.sightings.start()
    await ether.live(1)
    ether.changes.clear()
    ether.sightings.announce(told(1))
    await ether.live(1)
    assert ether.sightings.is_announced
    assert len(ether.changes) == 1
