"""The network is open when there is one, on the interfaces of now, and its want is told once."""

from __future__ import annotations

import logging

import pytest

from mesh.ether import HOME, OFFICE, Ether


async def looking() -> Ether:
    ether = Ether()
    await ether.sightings.start()
    await ether.live(0.25)
    return ether


async def test_a_steady_network_is_opened_once() -> None:
    ether = await looking()
    await ether.live(600)
    assert ether.tries == 1


async def test_without_a_network_one_sentence_is_told_and_the_next_one_is_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ether = Ether()
    ether.interfaces = ()
    with caplog.at_level(logging.INFO):
        await ether.sightings.start()
        await ether.live(600)
    assert ether.sightings.problem == "This machine is on no network."
    assert len(caplog.records) == 1
    assert len(ether.changes) == 1
    ether.interfaces = HOME
    await ether.live(5)
    assert ether.sightings.problem == ""
    assert len(ether.airs) == 1


async def test_a_network_that_goes_takes_its_machines_along() -> None:
    ether = await looking()
    ether.interfaces = ()
    await ether.live(7)
    assert ether.sightings.problem == "This machine is on no network."
    assert not ether.sightings.entries
    assert ether.air.closed == "silent"


async def test_a_refused_port_is_tried_once_a_minute() -> None:
    ether = Ether()
    ether.refuses_open = "Another program holds port 5353."
    await ether.sightings.start()
    await ether.live(181)
    assert ether.tries == 4
    ether.refuses_open = ""
    await ether.live(61)
    assert ether.sightings.problem == ""


async def test_interfaces_that_still_change_are_waited_for_but_not_for_ever() -> None:
    ether = await looking()
    await ether.live(4.5)
    for number in range(3):
        ether.interfaces = (*HOME, *(OFFICE * (number % 2 + 1)))
        await ether.live(1)
    assert ether.tries == 1
    await ether.live(2)
    assert ether.tries == 2
    await ether.live(30)
    assert ether.tries == 2
    for number in range(20):
        ether.interfaces = HOME * (number % 2 + 1)
        await ether.live(1)
    assert ether.tries >= 3


async def test_interfaces_that_come_back_as_they_were_change_nothing() -> None:
    ether = await looking()
    await ether.live(4.5)
    ether.interfaces = ()
    await ether.live(0.5)
    ether.interfaces = HOME
    await ether.live(30)
    assert ether.tries == 1


async def test_after_a_sleep_the_network_is_opened_anew() -> None:
    ether = await looking()
    ether.wall_ahead += 3600  # the monotonic clock stood still
    await ether.live(6)
    assert ether.tries == 2
    ether.clock.now += 3600  # and here it did not
    await ether.live(6)
    assert ether.tries == 3
    ether.wall_ahead -= 3600
    await ether.live(30)
    assert ether.tries == 3, "a clock set back is no sleep"


async def test_a_system_that_does_not_tell_its_interfaces_is_asked_again() -> None:
    ether = Ether()
    answers = iter([OSError(5, "Input/output error")])

    def find() -> tuple[()]:
        raise next(answers)

    find_well, ether.sightings._aerial._find = ether.sightings._aerial._find, find
    await ether.sightings.start()
    await ether.live(1)
    assert ether.sightings.problem.startswith("The network can't be looked at (Input/output error)")
    ether.sightings._aerial._find = find_well
    await ether.live(6)
    assert ether.sightings.problem == ""
