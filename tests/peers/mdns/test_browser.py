"""What a user sees of others on the network, whoever they are and however many."""

from __future__ import annotations

import asyncio

from mesh.ether import OFFICE, Ether, node_id, raw, told
from meshlight.domain.peer import Sighting
from meshlight.mesh.interfaces import Interface
from meshlight.mesh.txt import BAGO, Raw, instance_of

ME = told(999, name="me")


async def looking() -> Ether:
    ether = Ether()
    await ether.sightings.start()
    await ether.live(0.25)
    return ether


async def test_a_machine_that_announces_itself_is_listed_until_it_says_goodbye() -> None:
    ether = await looking()
    anna = raw(told(1, name="Anna", backends=2, models=5), "192.168.1.20")
    ether.say(anna)
    await ether.live(0.25)
    assert dict(ether.sightings.entries) == {
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
    ether.leave(anna)
    await ether.live(0.25)
    assert not ether.sightings.entries
    assert ether.changes == [1000.5, 1000.75]


async def test_new_facts_are_shown_and_the_entry_stays_the_same() -> None:
    ether = await looking()
    ether.say(raw(told(1), "192.168.1.20"))
    await ether.live(3)
    ether.say(raw(told(1, models=8, catalog="deadbeef"), "192.168.1.20"))
    await ether.live(0.25)
    entry = ether.sightings.entries[node_id(1)]
    assert (entry.models, entry.catalog, entry.since) == (8, "deadbeef", 1000.5)


async def test_a_thousand_announcements_are_sixty_four_entries_a_number_and_few_calls() -> None:
    ether = await looking()
    honest = raw(told(1), "192.168.1.20")
    ether.say(honest)
    await ether.live(0.25)
    ether.changes.clear()
    ether.say(*(raw(told(number), f"10.0.{number // 250}.{number % 250 + 1}") for number in range(2, 1002)))
    await ether.live(1)
    assert len(ether.sightings.entries) == 64
    assert node_id(1) in ether.sightings.entries
    assert ether.sightings.ignored == 1001 - 64
    assert len(ether.changes) <= 2
    assert not ether.air.asked
    before = ether.sightings.ignored
    ether.say(raw(told(5000), "10.1.1.1"))
    await ether.live(1)
    assert (len(ether.sightings.entries), ether.sightings.ignored) == (64, before + 1)


async def test_a_paired_machine_finds_room_in_a_list_that_strangers_have_filled() -> None:
    ether = await looking()
    ether.say(*(raw(told(number), f"10.0.0.{number}") for number in range(1, 100)))
    await ether.live(0.5)
    ether.paired.add(node_id(500))
    ether.say(raw(told(500), "192.168.1.20"))
    await ether.live(0.25)
    assert node_id(500) in ether.sightings.entries
    assert len(ether.sightings.entries) == 64


async def test_who_was_ignored_for_want_of_room_is_listed_once_there_is_some() -> None:
    ether = await looking()
    crowd = [raw(told(number), f"10.0.0.{number}") for number in range(1, 65)]
    ether.say(*crowd, raw(told(500), "192.168.1.20"))
    await ether.live(0.5)
    assert node_id(500) not in ether.sightings.entries
    for one in crowd[:10]:
        ether.leave(one)
    await ether.live(70)
    assert node_id(500) in ether.sightings.entries
    assert ether.air.browsed == 2


async def test_many_that_answer_nothing_are_not_asked_all_at_once() -> None:
    ether = await looking()
    ether.gate = asyncio.Event()
    for number in range(100):
        ether.air.hear(instance_of(told(number)))
    await ether.live(0.25)
    assert len(ether.air.asked) == 16
    assert ether.sightings.ignored == 84
    ether.gate.set()
    ether.gate = None
    await ether.live(0.25)
    assert not ether.sightings.entries


async def test_one_of_which_a_part_is_missing_is_asked_for_it() -> None:
    ether = await looking()
    anna = raw(told(1), "192.168.1.20")
    ether.there[anna.instance] = anna
    ether.air.hear(anna.instance)
    await ether.live(0.5)
    assert node_id(1) in ether.sightings.entries


async def test_one_that_fell_silent_goes_when_it_does_not_answer_any_more() -> None:
    ether = await looking()
    ether.say(raw(told(1), "192.168.1.20"), raw(told(2), "192.168.1.21"))
    await ether.live(20)
    ether.air.heard.clear()  # their records are too old now
    del ether.there[instance_of(told(1))]
    await ether.live(6)
    assert set(ether.sightings.entries) == {node_id(2)}


async def test_what_is_odd_is_counted_and_not_listed() -> None:
    ether = await looking()
    ether.say(raw(told(1), "192.168.1.20", name="a\x1bb"), raw(told(2), "127.0.0.1"))
    await ether.live(0.25)
    assert not ether.sightings.entries
    assert ether.sightings.ignored == 2
    ether.say(raw(told(3), "192.168.1.22"))
    await ether.live(0.25)
    ether.say(raw(told(3), "192.168.1.22", v="2"))
    await ether.live(0.25)
    assert not ether.sightings.entries, "one that turns odd is not shown with what it said before"


async def test_one_machine_under_two_instance_names_is_one_entry() -> None:
    ether = await looking()
    old = raw(told(1, name="old name"), "192.168.1.20")
    ether.say(old)
    await ether.live(0.25)
    ether.say(raw(told(1, name="new name"), "192.168.1.20"))
    await ether.live(0.25)
    assert [entry.name for entry in ether.sightings.entries.values()] == ["new name"]
    assert ether.sightings.entries[node_id(1)].conflict == ""


async def test_one_id_from_two_machines_is_marked_and_the_first_is_shown() -> None:
    ether = await looking()
    ether.say(raw(told(1, name="Anna"), "192.168.1.20"))
    await ether.live(0.25)
    rogue = raw(told(1, name="Anna!"), "192.168.1.66")
    ether.say(rogue)
    await ether.live(0.25)
    entry = ether.sightings.entries[node_id(1)]
    assert (entry.name, entry.addresses) == ("Anna", ("192.168.1.20",))
    assert entry.conflict.startswith("Another machine, at 192.168.1.66, announces the same identity.")
    ether.leave(rogue)
    await ether.live(0.25)
    assert ether.sightings.entries[node_id(1)].conflict == ""


async def test_this_machine_is_not_in_its_own_list() -> None:
    ether = await looking()
    ether.sightings.announce(ME)
    await ether.live(0.25)
    ether.say(raw(ME, "192.168.1.5"))
    ether.say(raw(ME, "192.168.1.5", instance=instance_of(told(999, name="before the crash"))))
    await ether.live(0.25)
    assert not ether.sightings.entries
    assert ether.sightings.twin == ""


async def test_an_id_that_turns_out_to_be_this_machines_leaves_the_list() -> None:
    ether = await looking()
    ether.say(raw(ME, "192.168.1.77", instance="copy._meshlight._tcp.local."))
    await ether.live(0.25)
    assert set(ether.sightings.entries) == {ME.id}
    ether.sightings.announce(ME)
    await ether.live(6)
    assert not ether.sightings.entries
    assert "192.168.1.77" in ether.sightings.twin


async def test_a_machine_with_a_copy_of_this_ones_settings_is_told() -> None:
    ether = await looking()
    ether.sightings.announce(ME)
    await ether.live(0.25)
    copy = raw(ME, "192.168.1.77", instance="copy._meshlight._tcp.local.")
    ether.say(copy)
    await ether.live(0.25)
    assert not ether.sightings.entries
    assert ether.sightings.twin.startswith(
        "Another machine, at 192.168.1.77, announces the identity of this one"
    )
    ether.leave(copy)
    await ether.live(0.25)
    assert ether.sightings.twin == ""


async def test_a_node_of_backend_ai_go_is_listed_to_be_added_by_hand() -> None:
    ether = await looking()
    ether.say(
        Raw(
            service=BAGO,
            instance=f"lab.{BAGO}",
            server="lab.local.",
            port=8080,
            addresses=("192.168.1.30",),
            properties={},
        )
    )
    await ether.live(0.25)
    [entry] = ether.sightings.entries.values()
    assert (entry.service, entry.name, entry.port, entry.door) == ("bago", "lab", 8080, 0)


async def test_in_another_network_the_machines_of_the_last_one_are_gone() -> None:
    ether = await looking()
    ether.sightings.announce(ME)
    ether.say(raw(told(1), "192.168.1.20"), raw(told(2), "192.168.1.21"))
    await ether.live(1)
    first = ether.air
    ether.interfaces = OFFICE
    del ether.there[instance_of(told(1))]
    await ether.live(8)
    assert first.closed == "silent"
    assert ether.air is not first
    assert ether.air.said == [ME]
    assert ether.air.browsed == 1
    await ether.live(12)
    assert set(ether.sightings.entries) == {node_id(2)}
    assert ether.sightings.entries[node_id(2)].since == 1000.5


async def test_with_browsing_off_nobody_is_listed_and_no_socket_is_open() -> None:
    ether = Ether()
    await ether.sightings.start(browse=False)
    await ether.live(10)
    assert not ether.airs
    assert not ether.clock.armed
    ether.sightings.announce(ME)
    await ether.live(1)
    ether.there[instance_of(told(1))] = raw(told(1), "192.168.1.20")
    ether.air.hear(instance_of(told(1)))
    await ether.live(1)
    assert ether.sightings.is_announced
    assert not ether.sightings.entries
    await ether.sightings.browse(True)
    await ether.live(1)
    assert set(ether.sightings.entries) == {node_id(1)}
    await ether.sightings.browse(False)
    await ether.live(1)
    assert not ether.sightings.entries
    ether.sightings.announce(None)
    await ether.live(1)
    assert ether.air.said[-1] is None
    assert ether.air.closed == "goodbye"
    assert not ether.clock.armed


async def test_starting_again_with_another_wish_to_browse_follows_it_while_this_machine_is_seen() -> None:
    ether = Ether()
    ether.sightings.announce(ME)
    ether.there[instance_of(told(1))] = raw(told(1), "192.168.1.20")
    await ether.sightings.start(browse=False)
    await ether.live(1)
    await ether.sightings.start(browse=True)
    await ether.live(1)
    assert set(ether.sightings.entries) == {node_id(1)}
    await ether.sightings.start(browse=False)
    await ether.live(1)
    assert not ether.sightings.entries
    assert ether.sightings.is_announced


async def test_a_user_who_wants_to_know_has_all_asked_again_but_not_ten_times_a_second() -> None:
    ether = await looking()
    await ether.live(11)
    for _ in range(20):
        ether.sightings.look()
        await ether.live(0.25)
    assert ether.air.browsed == 2


async def test_all_are_asked_again_now_and_then() -> None:
    ether = await looking()
    await ether.live(700)
    assert ether.air.browsed == 3


async def test_at_the_end_it_says_goodbye_and_forgets() -> None:
    ether = await looking()
    ether.sightings.announce(ME)
    ether.say(raw(told(1), "192.168.1.20"))
    await ether.live(1)
    await ether.sightings.stop()
    assert ether.air.closed == "goodbye"
    assert not ether.sightings.entries
    assert not ether.clock.armed


async def test_the_own_addresses_are_those_that_others_can_use_ipv4_first() -> None:
    ether = Ether()
    assert not ether.sightings.addresses
    ether.interfaces = (Interface("wlan0", 2, ("192.168.1.5", "10.0.0.9"), ("fd00::5", "fe80::1")),)
    await ether.sightings.start()
    await ether.live(0.25)
    assert ether.sightings.addresses == ("10.0.0.9", "192.168.1.5", "fd00::5")
