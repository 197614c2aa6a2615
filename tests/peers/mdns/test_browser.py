"""What a user sees of others on the network, whoever they are and however many."""

from __future__ import annotations

import asyncio

from meshlight.domain.peers import Sighting
from meshlight.peers.mdns.interfaces import Interface
from meshlight.peers.mdns.records import BAGO, RawService, instance_of
from peers.mdns.fake_mdns import OFFICE, FakeNetwork, announcement, node_id, raw

ME = announcement(999, name="me")


async def looking() -> FakeNetwork:
    mdns = FakeNetwork()
    await mdns.discovered.start()
    await mdns.live(0.25)
    return mdns


async def test_a_machine_that_announces_itself_is_listed_until_it_says_goodbye() -> None:
    mdns = await looking()
    anna = raw(announcement(1, name="Anna", backends=2, models=5), "192.168.1.20")
    mdns.announce_from(anna)
    await mdns.live(0.25)
    assert dict(mdns.discovered.entries) == {
        node_id(1): Sighting(
            id=node_id(1),
            name="Anna",
            host="host-192-168-1-20.local",
            addresses=("192.168.1.20",),
            port=6375,
            door=6376,
            backends=2,
            models=5,
            catalog="00000000",
            service="meshlight",
            since=1000.5,
        )
    }
    mdns.leave(anna)
    await mdns.live(0.25)
    assert not mdns.discovered.entries
    assert mdns.changes == [1000.5, 1000.75]


async def test_new_facts_are_shown_and_the_entry_stays_the_same() -> None:
    mdns = await looking()
    mdns.announce_from(raw(announcement(1), "192.168.1.20"))
    await mdns.live(3)
    mdns.announce_from(raw(announcement(1, models=8, catalog="deadbeef"), "192.168.1.20"))
    await mdns.live(0.25)
    entry = mdns.discovered.entries[node_id(1)]
    assert (entry.models, entry.catalog, entry.since) == (8, "deadbeef", 1000.5)


async def test_a_thousand_announcements_are_sixty_four_entries_a_number_and_few_calls() -> None:
    mdns = await looking()
    honest = raw(announcement(1), "192.168.1.20")
    mdns.announce_from(honest)
    await mdns.live(0.25)
    mdns.changes.clear()
    mdns.announce_from(
        *(raw(announcement(number), f"10.0.{number // 250}.{number % 250 + 1}") for number in range(2, 1002))
    )
    await mdns.live(1)
    assert len(mdns.discovered.entries) == 64
    assert node_id(1) in mdns.discovered.entries
    assert mdns.discovered.ignored == 1001 - 64
    assert len(mdns.changes) <= 2
    assert not mdns.adapter.queried
    before = mdns.discovered.ignored
    mdns.announce_from(raw(announcement(5000), "10.1.1.1"))
    await mdns.live(1)
    assert (len(mdns.discovered.entries), mdns.discovered.ignored) == (64, before + 1)


async def test_a_paired_machine_finds_room_in_a_list_that_strangers_have_filled() -> None:
    mdns = await looking()
    mdns.announce_from(*(raw(announcement(number), f"10.0.0.{number}") for number in range(1, 100)))
    await mdns.live(0.5)
    mdns.paired.add(node_id(500))
    mdns.announce_from(raw(announcement(500), "192.168.1.20"))
    await mdns.live(0.25)
    assert node_id(500) in mdns.discovered.entries
    assert len(mdns.discovered.entries) == 64


async def test_who_was_ignored_for_want_of_room_is_listed_once_there_is_some() -> None:
    mdns = await looking()
    crowd = [raw(announcement(number), f"10.0.0.{number}") for number in range(1, 65)]
    mdns.announce_from(*crowd, raw(announcement(500), "192.168.1.20"))
    await mdns.live(0.5)
    assert node_id(500) not in mdns.discovered.entries
    for one in crowd[:10]:
        mdns.leave(one)
    await mdns.live(70)
    assert node_id(500) in mdns.discovered.entries
    assert mdns.adapter.browsed == 2


async def test_many_that_answer_nothing_are_not_asked_all_at_once() -> None:
    mdns = await looking()
    mdns.gate = asyncio.Event()
    for number in range(100):
        mdns.adapter.receive(instance_of(announcement(number)))
    await mdns.live(0.25)
    assert len(mdns.adapter.queried) == 16
    assert mdns.discovered.ignored == 84
    mdns.gate.set()
    mdns.gate = None
    await mdns.live(0.25)
    assert not mdns.discovered.entries


async def test_one_of_which_a_part_is_missing_is_asked_for_it() -> None:
    mdns = await looking()
    anna = raw(announcement(1), "192.168.1.20")
    mdns.there[anna.instance] = anna
    mdns.adapter.receive(anna.instance)
    await mdns.live(0.5)
    assert node_id(1) in mdns.discovered.entries


async def test_one_that_fell_silent_goes_when_it_does_not_answer_any_more() -> None:
    mdns = await looking()
    mdns.announce_from(raw(announcement(1), "192.168.1.20"), raw(announcement(2), "192.168.1.21"))
    await mdns.live(20)
    mdns.adapter.received.clear()  # their records are too old now
    del mdns.there[instance_of(announcement(1))]
    await mdns.live(6)
    assert set(mdns.discovered.entries) == {node_id(2)}


async def test_what_is_odd_is_counted_and_not_listed() -> None:
    mdns = await looking()
    mdns.announce_from(raw(announcement(1), "192.168.1.20", name="a\x1bb"), raw(announcement(2), "127.0.0.1"))
    await mdns.live(0.25)
    assert not mdns.discovered.entries
    assert mdns.discovered.ignored == 2
    mdns.announce_from(raw(announcement(3), "192.168.1.22"))
    await mdns.live(0.25)
    mdns.announce_from(raw(announcement(3), "192.168.1.22", v="2"))
    await mdns.live(0.25)
    assert not mdns.discovered.entries, "one that turns odd is not shown with what it said before"


async def test_one_machine_under_two_instance_names_is_one_entry() -> None:
    mdns = await looking()
    old = raw(announcement(1, name="old name"), "192.168.1.20")
    mdns.announce_from(old)
    await mdns.live(0.25)
    mdns.announce_from(raw(announcement(1, name="new name"), "192.168.1.20"))
    await mdns.live(0.25)
    assert [entry.name for entry in mdns.discovered.entries.values()] == ["new name"]
    assert mdns.discovered.entries[node_id(1)].conflict == ""


async def test_one_id_from_two_machines_is_marked_and_the_first_is_shown() -> None:
    mdns = await looking()
    mdns.announce_from(raw(announcement(1, name="Anna"), "192.168.1.20"))
    await mdns.live(0.25)
    rogue = raw(announcement(1, name="Anna!"), "192.168.1.66")
    mdns.announce_from(rogue)
    await mdns.live(0.25)
    entry = mdns.discovered.entries[node_id(1)]
    assert (entry.name, entry.addresses) == ("Anna", ("192.168.1.20",))
    assert entry.conflict.startswith("Another machine, at 192.168.1.66, announces the same identity.")
    mdns.leave(rogue)
    await mdns.live(0.25)
    assert mdns.discovered.entries[node_id(1)].conflict == ""


async def test_this_machine_is_not_in_its_own_list() -> None:
    mdns = await looking()
    mdns.discovered.announce(ME)
    await mdns.live(0.25)
    mdns.announce_from(raw(ME, "192.168.1.5"))
    mdns.announce_from(
        raw(ME, "192.168.1.5", instance=instance_of(announcement(999, name="before the crash")))
    )
    await mdns.live(0.25)
    assert not mdns.discovered.entries
    assert mdns.discovered.duplicate == ""


async def test_an_id_that_turns_out_to_be_this_machines_leaves_the_list() -> None:
    mdns = await looking()
    mdns.announce_from(raw(ME, "192.168.1.77", instance="copy._meshlight._tcp.local."))
    await mdns.live(0.25)
    assert set(mdns.discovered.entries) == {ME.id}
    mdns.discovered.announce(ME)
    await mdns.live(6)
    assert not mdns.discovered.entries
    assert "192.168.1.77" in mdns.discovered.duplicate


async def test_a_machine_with_a_copy_of_this_ones_settings_is_told() -> None:
    mdns = await looking()
    mdns.discovered.announce(ME)
    await mdns.live(0.25)
    copy = raw(ME, "192.168.1.77", instance="copy._meshlight._tcp.local.")
    mdns.announce_from(copy)
    await mdns.live(0.25)
    assert not mdns.discovered.entries
    assert mdns.discovered.duplicate.startswith(
        "Another machine, at 192.168.1.77, announces the identity of this one"
    )
    mdns.leave(copy)
    await mdns.live(0.25)
    assert mdns.discovered.duplicate == ""


async def test_a_node_of_backend_ai_go_is_listed_to_be_added_by_hand() -> None:
    mdns = await looking()
    mdns.announce_from(
        RawService(
            service=BAGO,
            instance=f"lab.{BAGO}",
            server="lab.local.",
            port=8080,
            addresses=("192.168.1.30",),
            properties={},
        )
    )
    await mdns.live(0.25)
    [entry] = mdns.discovered.entries.values()
    assert (entry.service, entry.name, entry.port, entry.door) == ("bago", "lab", 8080, 0)


async def test_in_another_network_the_machines_of_the_last_one_are_gone() -> None:
    mdns = await looking()
    mdns.discovered.announce(ME)
    mdns.announce_from(raw(announcement(1), "192.168.1.20"), raw(announcement(2), "192.168.1.21"))
    await mdns.live(1)
    first = mdns.adapter
    mdns.interfaces = OFFICE
    del mdns.there[instance_of(announcement(1))]
    await mdns.live(8)
    assert first.closed == "silent"
    assert mdns.adapter is not first
    assert mdns.adapter.announced == [ME]
    assert mdns.adapter.browsed == 1
    await mdns.live(12)
    assert set(mdns.discovered.entries) == {node_id(2)}
    assert mdns.discovered.entries[node_id(2)].since == 1000.5


async def test_with_browsing_off_nobody_is_listed_and_no_socket_is_open() -> None:
    mdns = FakeNetwork()
    await mdns.discovered.start(browse=False)
    await mdns.live(10)
    assert not mdns.adapters
    assert not mdns.clock.armed
    mdns.discovered.announce(ME)
    await mdns.live(1)
    mdns.there[instance_of(announcement(1))] = raw(announcement(1), "192.168.1.20")
    mdns.adapter.receive(instance_of(announcement(1)))
    await mdns.live(1)
    assert mdns.adapter.own
    assert not mdns.discovered.entries
    await mdns.discovered.browse(True)
    await mdns.live(1)
    assert set(mdns.discovered.entries) == {node_id(1)}
    await mdns.discovered.browse(False)
    await mdns.live(1)
    assert not mdns.discovered.entries
    mdns.discovered.announce(None)
    await mdns.live(1)
    assert mdns.adapter.announced[-1] is None
    assert mdns.adapter.closed == "goodbye"
    assert not mdns.clock.armed


async def test_starting_again_with_another_wish_to_browse_follows_it_while_this_machine_is_seen() -> None:
    mdns = FakeNetwork()
    mdns.discovered.announce(ME)
    mdns.there[instance_of(announcement(1))] = raw(announcement(1), "192.168.1.20")
    await mdns.discovered.start(browse=False)
    await mdns.live(1)
    await mdns.discovered.start(browse=True)
    await mdns.live(1)
    assert set(mdns.discovered.entries) == {node_id(1)}
    await mdns.discovered.start(browse=False)
    await mdns.live(1)
    assert not mdns.discovered.entries
    assert mdns.adapter.own


async def test_all_are_asked_again_now_and_then() -> None:
    mdns = await looking()
    await mdns.live(700)
    assert mdns.adapter.browsed == 3


async def test_at_the_end_it_says_goodbye_and_forgets() -> None:
    mdns = await looking()
    mdns.discovered.announce(ME)
    mdns.announce_from(raw(announcement(1), "192.168.1.20"))
    await mdns.live(1)
    await mdns.discovered.stop()
    assert mdns.adapter.closed == "goodbye"
    assert not mdns.discovered.entries
    assert not mdns.clock.armed


async def test_the_own_addresses_are_those_that_others_can_use_ipv4_first() -> None:
    mdns = FakeNetwork()
    assert not mdns.discovered.addresses
    mdns.interfaces = (Interface("wlan0", 2, ("192.168.1.5", "10.0.0.9"), ("fd00::5", "fe80::1")),)
    await mdns.discovered.start()
    await mdns.live(0.25)
    assert mdns.discovered.addresses == ("10.0.0.9", "192.168.1.5", "fd00::5")
