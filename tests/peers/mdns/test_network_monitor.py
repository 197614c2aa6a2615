"""The network is open when there is one, on the interfaces of now, and its want is told once."""

from __future__ import annotations

import logging

import pytest

from peers.mdns.fake_mdns import HOME, OFFICE, FakeNetwork


async def looking() -> FakeNetwork:
    mdns = FakeNetwork()
    await mdns.discovered.start()
    await mdns.live(0.25)
    return mdns


async def test_a_steady_network_is_opened_once() -> None:
    mdns = await looking()
    await mdns.live(600)
    assert mdns.tries == 1


async def test_without_a_network_one_sentence_is_told_and_the_next_one_is_taken(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mdns = FakeNetwork()
    mdns.interfaces = ()
    with caplog.at_level(logging.INFO):
        await mdns.discovered.start()
        await mdns.live(600)
    assert mdns.discovered.problem == "This machine is on no network."
    assert len(caplog.records) == 1
    assert len(mdns.changes) == 1
    mdns.interfaces = HOME
    await mdns.live(5)
    assert mdns.discovered.problem == ""
    assert len(mdns.adapters) == 1


async def test_a_network_that_goes_takes_its_machines_along() -> None:
    mdns = await looking()
    mdns.interfaces = ()
    await mdns.live(7)
    assert mdns.discovered.problem == "This machine is on no network."
    assert not mdns.discovered.entries
    assert mdns.adapter.closed == "silent"


async def test_a_refused_port_is_tried_once_a_minute() -> None:
    mdns = FakeNetwork()
    mdns.refuses_open = "Another program holds port 5353."
    await mdns.discovered.start()
    await mdns.live(181)
    assert mdns.tries == 4
    mdns.refuses_open = ""
    await mdns.live(61)
    assert mdns.discovered.problem == ""


async def test_interfaces_that_still_change_are_waited_for_but_not_for_ever() -> None:
    mdns = await looking()
    await mdns.live(4.5)
    for number in range(3):
        mdns.interfaces = (*HOME, *(OFFICE * (number % 2 + 1)))
        await mdns.live(1)
    assert mdns.tries == 1
    await mdns.live(2)
    assert mdns.tries == 2
    await mdns.live(30)
    assert mdns.tries == 2
    for number in range(20):
        mdns.interfaces = HOME * (number % 2 + 1)
        await mdns.live(1)
    assert mdns.tries >= 3


async def test_interfaces_that_come_back_as_they_were_change_nothing() -> None:
    mdns = await looking()
    await mdns.live(4.5)
    mdns.interfaces = ()
    await mdns.live(0.5)
    mdns.interfaces = HOME
    await mdns.live(30)
    assert mdns.tries == 1


async def test_after_a_sleep_the_network_is_opened_anew() -> None:
    mdns = await looking()
    mdns.wall_ahead += 3600  # the monotonic clock stood still
    await mdns.live(6)
    assert mdns.tries == 2
    mdns.clock.now += 3600  # and here it did not
    await mdns.live(6)
    assert mdns.tries == 3
    mdns.wall_ahead -= 3600
    await mdns.live(30)
    assert mdns.tries == 3, "a clock set back is no sleep"


async def test_a_system_that_does_not_tell_its_interfaces_is_asked_again() -> None:
    mdns = FakeNetwork()
    answers = iter([OSError(5, "Input/output error")])

    def find() -> tuple[()]:
        raise next(answers)

    find_well, mdns.discovered._monitor._find = mdns.discovered._monitor._find, find
    await mdns.discovered.start()
    await mdns.live(1)
    assert mdns.discovered.problem.startswith("The network can't be examined (Input/output error)")
    mdns.discovered._monitor._find = find_well
    await mdns.live(6)
    assert mdns.discovered.problem == ""
