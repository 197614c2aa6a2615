"""One pairing at a time, at real doors: who asks, who is asked, and how it ended."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from fake_clock import Clock
from meshlight.domain.errors import ConfigError, Conflict, NotFound, PairingError
from meshlight.domain.peers import PairingView
from meshlight.peers.pairing.coordinator import PairingCoordinator
from meshlight.peers.pairing.session import Paired
from peers.pairs import ANNA, MALLORY, Ben, Caller, ben, side


class User:
    """A meeting, whom it added, and a way to wait for what people see."""

    def __init__(self) -> None:
        self.added: list[Paired] = []
        self.fault: Exception | None = None
        self._news = asyncio.Event()
        self.coordinator = PairingCoordinator(self._add_peer, self._news.set)

    async def _add_peer(self, paired: Paired) -> None:
        if self.fault is not None:
            raise self.fault
        self.added.append(paired)

    async def until(self, *states: str) -> PairingView:
        async with asyncio.timeout(10):
            while True:
                view = self.coordinator.view()
                if view is not None and view.state in states:
                    return view
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def two() -> AsyncIterator[tuple[Clock, User, User, Ben]]:
    """Anna, Ben, and Ben's open pairing port."""
    clock = Clock()
    anna, theirs = User(), User()
    async with ben(clock) as door:
        door.server._on_request = theirs.coordinator.receive
        yield clock, anna, theirs, door
        await anna.coordinator.close()
        await theirs.coordinator.close()


async def test_two_people_compare_confirm_and_each_side_keeps_the_other() -> None:
    async with two() as (clock, anna, theirs, door):
        await anna.coordinator.ask(side(ANNA, "Anna", clock), [("127.0.0.1", door.port)], None)
        here, there = await anna.until("comparing"), await theirs.until("comparing")
        assert here.digits == there.digits
        assert (here.role, here.name, there.role, there.name) == ("asking", "Ben's PC", "asked", "Anna")

        await anna.coordinator.confirm()
        await theirs.coordinator.confirm()
        await anna.until("paired")
        await theirs.until("paired")
        assert [paired.peer.id for paired in theirs.added] == [ANNA.node_id]
        assert [paired.peer.name for paired in anna.added] == ["Ben's PC"]


async def test_a_no_ends_it_on_both_sides_and_nobody_is_kept() -> None:
    async with two() as (clock, anna, theirs, door):
        await anna.coordinator.ask(side(ANNA, "Anna", clock), [("127.0.0.1", door.port)], None)
        await theirs.until("comparing")
        await theirs.coordinator.refuse()

        assert "refused on" in (await anna.until("over")).why
        assert "refused here" in (await theirs.until("over")).why
        assert anna.added == theirs.added == []


async def test_who_asks_while_a_pairing_is_under_way_is_told_to_wait() -> None:
    async with two() as (clock, anna, theirs, door):
        where = [("127.0.0.1", door.port)]
        await anna.coordinator.ask(side(ANNA, "Anna", clock), where, None)
        with pytest.raises(Conflict, match="under way"):
            await anna.coordinator.ask(side(ANNA, "Anna", clock), where, None)
        await theirs.until("comparing")


async def test_a_request_that_comes_while_one_is_asking_itself_is_turned_away() -> None:
    clock, busy = Clock(), User()
    held: list[asyncio.StreamWriter] = []
    silent = await asyncio.start_server(lambda _, writer: held.append(writer), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with silent, ben(clock) as door:
        door.server._on_request = busy.coordinator.receive
        asking = asyncio.create_task(
            busy.coordinator.ask(side(ANNA, "Ben", clock), [("127.0.0.1", port)], None)
        )
        await busy.until("waiting")
        async with await Caller.at(door.port, MALLORY) as caller:
            await caller.meet()
            assert await caller.read() == {"t": "no", "why": "busy"}
        view = busy.coordinator.view()
        assert view is not None
        assert (view.role, view.state) == ("asking", "waiting")
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert busy.coordinator.view() is None
        await busy.coordinator.close()
        for writer in held:
            writer.close()


async def test_every_address_is_tried_until_one_answers() -> None:
    async with two() as (clock, anna, _, door):
        where = [("127.0.0.1", 1), ("127.0.0.1", door.port)]
        await anna.coordinator.ask(side(ANNA, "Anna", clock), where, None)
        assert (await anna.until("comparing")).name == "Ben's PC"


async def test_nobody_there_is_told_with_the_address_and_another_try_is_free() -> None:
    async with two() as (clock, anna, _, door):
        with pytest.raises(PairingError, match=r"127\.0\.0\.1:1"):
            await anna.coordinator.ask(side(ANNA, "Anna", clock), [("127.0.0.1", 1)], None)
        assert anna.coordinator.view() is None
        await anna.coordinator.ask(side(ANNA, "Anna", clock), [("127.0.0.1", door.port)], None)


async def test_a_peer_that_can_not_be_written_down_is_told_and_not_shown_as_paired(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    for fault, words in (
        (ConfigError("The file can't be written.", "Free some space."), "Free some space."),
        (OSError(28, "No space left on device"), "No space left on device."),
    ):
        async with two() as (clock, anna, theirs, door):
            anna.fault = fault
            await anna.coordinator.ask(side(ANNA, "Anna", clock), [("127.0.0.1", door.port)], None)
            await theirs.until("comparing")
            await anna.coordinator.confirm()
            await theirs.coordinator.confirm()

            view = await anna.until("over")
            assert words in view.why
            assert "anew" in view.why
            with pytest.raises(NotFound):
                await anna.coordinator.confirm()
    assert "could not be saved" in caplog.text
    assert "BEGIN" not in caplog.text


async def test_without_a_pairing_there_is_nothing_to_confirm_or_refuse() -> None:
    meeting = User().coordinator
    for act in (meeting.confirm, meeting.refuse):
        with pytest.raises(NotFound, match="No pairing is under way"):
            await act()
    assert meeting.view() is None
    await meeting.close()


async def test_closing_ends_a_pairing_for_both_and_takes_no_other() -> None:
    async with two() as (clock, anna, theirs, door):
        await anna.coordinator.ask(side(ANNA, "Anna", clock), [("127.0.0.1", door.port)], None)
        await theirs.until("comparing")
        await theirs.coordinator.close()
        assert (await anna.until("over")).why

        await anna.coordinator.ask(side(ANNA, "Anna", clock), [("127.0.0.1", door.port)], None)
        assert (await anna.until("over")).why
        assert theirs.coordinator.view() is not None
        assert theirs.added == []
