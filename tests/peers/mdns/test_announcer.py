"""What the network hears of this machine: the latest, seldom, and a goodbye at the end."""

from __future__ import annotations

from itertools import pairwise

from meshlight.peers.mdns.announcer import GAP_S
from peers.mdns.fake_mdns import FakeNetwork, announcement


async def announced() -> FakeNetwork:
    mdns = FakeNetwork()
    await mdns.discovered.start()
    mdns.discovered.announce(announcement(1))
    await mdns.live(2)
    return mdns


async def test_nothing_is_announced_until_it_is_wanted() -> None:
    mdns = FakeNetwork()
    await mdns.discovered.start()
    await mdns.live(30)
    assert mdns.adapter.announced == []
    assert not mdns.adapter.own


async def test_a_hundred_changes_are_few_announcements_and_the_last_is_heard() -> None:
    mdns = await announced()
    for number in range(100):
        mdns.discovered.announce(announcement(1, models=number))
        await mdns.live(0.25 if number % 10 == 0 else 0)
    await mdns.live(2)
    assert mdns.adapter.announced[-1] == announcement(1, models=99)
    assert len(mdns.adapter.announced) <= 6
    assert all(later - earlier >= GAP_S for earlier, later in pairwise(mdns.adapter.announced_at))


async def test_the_same_again_is_not_announced_again() -> None:
    mdns = await announced()
    for _ in range(10):
        mdns.discovered.announce(announcement(1))
        await mdns.live(2)
    assert mdns.adapter.announced == [announcement(1)]


async def test_who_wants_to_be_seen_no_more_is_gone_at_once() -> None:
    mdns = await announced()
    mdns.discovered.announce(announcement(1, models=3))
    mdns.discovered.announce(None)
    await mdns.live(0.25)
    assert mdns.adapter.announced[-1] is None
    assert not mdns.adapter.own


async def test_a_network_that_refuses_is_told_and_tried_again() -> None:
    mdns = FakeNetwork()
    mdns.refusal = OSError("no")
    await mdns.discovered.start()
    mdns.discovered.announce(announcement(1))
    await mdns.live(2)
    assert mdns.discovered.problem.startswith("This machine could not be announced on the network")
    assert mdns.changes
    mdns.refusal = None
    await mdns.live(10)
    assert mdns.adapter.announced == [announcement(1)]
    assert mdns.discovered.problem == ""


async def test_a_change_is_told_when_others_begin_to_see_this_machine() -> None:
    mdns = FakeNetwork()
    await mdns.discovered.start()
    await mdns.live(1)
    mdns.changes.clear()
    mdns.discovered.announce(announcement(1))
    await mdns.live(1)
    assert mdns.adapter.own
    assert len(mdns.changes) == 1
