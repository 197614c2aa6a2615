"""The list stays small and true to its order, whatever it is told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from fake_clock import Clock
from meshlight.peers.mdns.browser import INSTANCES_MAX, UNCONFIRMED_S, InstanceTable
from meshlight.peers.mdns.records import ReceivedAnnouncement, read
from peers.mdns.fake_mdns import announcement, node_id, raw


def heard(number: int, instance: str = "", address: str = "") -> ReceivedAnnouncement:
    found = read(
        raw(announcement(number), address or f"10.0.{number // 250}.{number % 250 + 1}", instance=instance)
    )
    assert found is not None
    return found


@given(some.lists(some.tuples(some.integers(0, 90), some.sampled_from(["a", "b", "c"]), some.booleans())))
def test_it_never_holds_more_than_sixty_four_and_each_once(
    steps: list[tuple[int, str, bool]],
) -> None:
    clock = Clock()
    seen = InstanceTable(clock, lambda _: False)
    for number, label, is_gone in steps:
        one = heard(number, f"{number}{label}._meshlight._tcp.local.")
        before = dict(seen.entries)
        has_changed = seen.drop(one.instance) if is_gone else seen.take(one)
        assert has_changed == (dict(seen.entries) != before)
        assert len(seen.instances) <= INSTANCES_MAX
        assert {entry.id for entry in seen.entries.values()} == set(seen.entries)


def test_a_full_list_lets_who_was_long_unseen_go_and_nobody_else() -> None:
    clock = Clock()
    seen = InstanceTable(clock, lambda _: False)
    for number in range(INSTANCES_MAX):
        seen.take(heard(number))
    assert seen.is_full
    assert not seen.take(heard(500))
    clock.pass_time(UNCONFIRMED_S)
    for number in range(1, INSTANCES_MAX):
        seen.take(heard(number))
    assert seen.take(heard(500))
    assert set(seen.entries) == {node_id(500), *map(node_id, range(1, INSTANCES_MAX))}
    assert seen.ignored == 1


def test_one_id_under_a_hundred_names_does_not_fill_the_list() -> None:
    seen = InstanceTable(Clock(), lambda _: False)
    for number in range(100):
        seen.take(heard(1, f"{number}._meshlight._tcp.local.", f"10.0.0.{number + 1}"))
    assert len(seen.instances) == 4
    assert seen.ignored == 96
    assert seen.entries[node_id(1)].conflict


def test_an_instance_name_is_the_same_in_large_and_small_letters() -> None:
    seen = InstanceTable(Clock(), lambda _: False)
    seen.take(heard(1, "Anna._meshlight._tcp.local."))
    seen.take(heard(1, "anna._meshlight._tcp.local."))
    assert len(seen.instances) == 1
    assert seen.drop("ANNA._meshlight._tcp.local.")
    assert not seen.entries
