"""Requests in front of engines whose slots are all busy: how many an engine sees, who goes next, and who leaves."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from faults.held import WAIT_S, HeldEngine
from gateway.rig import RecordedAnswer, Rig
from meshlight.backends.base import Probe
from meshlight.domain.backend import ModelDetail, Reason
from meshlight.domain.errors import AllBusy, EveryRouteDown, ModelNotFound
from meshlight.domain.health import Answered, Failed
from meshlight.domain.peers import Peer
from meshlight.domain.rules import Routing, Rule
from meshlight.gateway.inference.relay import NAME_MAX
from meshlight.gateway.server.disconnect import DisconnectListeners

BODY = msgspec.json.encode({"model": "m", "messages": []})
DOWN = Reason("refused", "Nothing listens there.")


class Crowd:
    """Clients of a relay in front of two engines with four slots each."""

    def __init__(self, rig: Rig, first: HeldEngine, second: HeldEngine) -> None:
        self.rig = rig
        self.first = first
        self.second = second
        self.answered: list[str] = []
        """The callers in the order in which they were answered."""
        self.tasks: list[asyncio.Task[RecordedAnswer]] = []

    async def come(self, *callers: str, model: str = "m", guest: Peer | None = None) -> None:
        """Send a request for each caller, one after another, and wait until all that can have reached an engine."""
        for caller in callers:
            self.tasks.append(asyncio.create_task(self._ask(caller, DisconnectListeners(), model, guest)))
        await self.settle()

    async def come_with(self, body: bytes) -> None:
        """Send a request with another body."""
        self.tasks.append(asyncio.create_task(self._ask("app", DisconnectListeners(), "m", None, body)))
        await self.settle()

    async def come_and_may_leave(self, caller: str) -> DisconnectListeners:
        listeners = DisconnectListeners()
        self.tasks.append(asyncio.create_task(self._ask(caller, listeners, "m", None)))
        await self.settle()
        return listeners

    async def settle(self) -> None:
        """Wait until each request is either at an engine, in the queue, or answered."""
        await self.until(
            lambda: (
                self.first.held + self.second.held + sum(self.rig.traffic.waiting().values())
                == self.rig.traffic.router.in_flight
            )
        )

    async def finish(self, engine: HeldEngine) -> None:
        """Have an engine answer its oldest request, and wait for what follows from that."""
        before = len(self.answered)
        engine.answer()
        await self.until(lambda: len(self.answered) > before)
        await self.settle()

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Let everything run that can until something is so."""
        async with asyncio.timeout(WAIT_S):
            while True:
                for _ in range(20):
                    await asyncio.sleep(0)
                if is_so():
                    return

    async def results(self) -> list[Any]:
        return await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _ask(
        self,
        caller: str,
        listeners: DisconnectListeners,
        model: str,
        guest: Peer | None,
        body: bytes = BODY,
    ) -> RecordedAnswer:
        inbound = self.rig.inbound("chat/completions", model, body)
        headers = (*inbound.headers, (b"user-agent", caller.encode()))
        answer = RecordedAnswer()
        await self.rig.relay.run(inbound.changed(headers=headers, guest=guest), answer, listeners)
        if answer.is_whole:
            self.answered.append(caller)
        return answer


@pytest.fixture
async def crowd() -> AsyncIterator[Crowd]:
    async with HeldEngine("first") as first, HeldEngine("second") as second:
        rig = Rig(longest=60)
        rig.add(first, slots=4)
        rig.add(second, slots=4)
        yield Crowd(rig, first, second)


async def test_no_engine_ever_sees_more_requests_than_it_has_slots(crowd: Crowd) -> None:
    await crowd.come(*(f"app-{number % 5}" for number in range(50)))
    assert (crowd.first.held, crowd.second.held, crowd.rig.traffic.waiting()) == (4, 4, {"m": 42})
    crowd.first.answer_all()
    crowd.second.answer_all()
    results = await crowd.results()
    assert [answer.status for answer in results] == [200] * 50
    assert (crowd.first.most, crowd.second.most) == (4, 4)
    assert len(crowd.first.posts) + len(crowd.second.posts) == 50, "nobody is sent twice"
    assert min(len(crowd.first.posts), len(crowd.second.posts)) > 10, (
        "the next free slot anywhere takes the next"
    )
    assert (crowd.rig.traffic.waiting(), crowd.rig.clock.armed) == ({}, [])
    assert {answer.headers["x-meshlight-attempts"] for answer in results} == {"1"}, "a wait is no attempt"


async def test_apps_take_turns_however_many_requests_each_has(crowd: Crowd) -> None:
    await crowd.come(*["busy"] * 8)  # in the slots
    await crowd.come(*["greedy"] * 24, *["modest"] * 6, *["late"] * 6)
    for _ in range(8 + 18):
        await crowd.finish(crowd.first)
    shares = Counter(crowd.answered[4:22])
    del shares["busy"]
    assert max(shares.values()) / min(shares.values()) <= 1.3, shares
    assert set(shares) == {"greedy", "modest", "late"}
    crowd.first.answer_all()
    crowd.second.answer_all()
    assert len(await crowd.results()) == len(crowd.answered) == 44


async def test_a_client_that_leaves_the_queue_is_sent_nowhere_and_holds_nobody_up(crowd: Crowd) -> None:
    await crowd.come(*["app"] * 8)
    leaving = await crowd.come_and_may_leave("leaving")
    await crowd.come("staying")
    assert crowd.rig.traffic.waiting() == {"m": 2}
    leaving.fire()
    await crowd.settle()
    assert crowd.rig.traffic.waiting() == {"m": 1}
    await crowd.finish(crowd.second)
    assert (crowd.second.held, crowd.rig.traffic.waiting()) == (4, {})
    crowd.first.answer_all()
    crowd.second.answer_all()
    await crowd.results()
    assert len(crowd.first.posts) + len(crowd.second.posts) == 9
    assert "leaving" not in crowd.answered
    assert crowd.rig.traffic.router.requests().cancelled == 1


async def test_a_slot_for_one_that_leaves_in_the_same_moment_is_the_next_ones(crowd: Crowd) -> None:
    await crowd.come(*["app"] * 8)
    leaving = await crowd.come_and_may_leave("leaving")
    await crowd.come("next")
    ticket = crowd.rig.traffic.reserve("other", "m")  # any request of the model that ends
    crowd.rig.registry.put(replace(crowd.rig.registry.node("first").backend, slots=5))
    leaving.fire()
    ticket.close("ok")
    await crowd.settle()
    assert (crowd.first.held, crowd.rig.traffic.waiting()) == (5, {})
    crowd.first.answer_all()
    crowd.second.answer_all()
    await crowd.results()
    assert "next" in crowd.answered


async def test_ten_are_answered_once_eight_that_hang_are_given_up(crowd: Crowd) -> None:
    hung = [await crowd.come_and_may_leave("hung") for _ in range(8)]
    await crowd.come(*(f"app-{number % 2}" for number in range(10)))
    assert crowd.rig.traffic.waiting() == {"m": 10}
    for client in hung:
        client.fire()
    await crowd.settle()
    assert crowd.rig.traffic.waiting() == {"m": 2}
    crowd.first.answer_all()
    crowd.second.answer_all()
    await crowd.results()
    assert Counter(crowd.answered) == {"app-0": 5, "app-1": 5}


async def test_those_that_hang_at_an_engine_that_falls_go_before_those_that_wait(crowd: Crowd) -> None:
    """The four at the first engine leave it when its probes fail, and all are answered by the second one."""
    await crowd.come(*["hung"] * 8)
    await crowd.come(*["app"] * 10)
    for _ in range(3):
        crowd.rig.registry.record_fact("first", Failed(DOWN))
    await crowd.settle()
    assert (crowd.first.held, crowd.second.held, crowd.rig.traffic.waiting()) == (0, 4, {"m": 14})
    for _ in range(8):
        await crowd.finish(crowd.second)
    assert crowd.answered == ["hung"] * 8
    crowd.second.answer_all()
    await crowd.results()
    assert (len(crowd.answered), crowd.second.most) == (18, 4)


async def test_a_retry_waits_before_all_others(crowd: Crowd) -> None:
    """The first engine's answer is an error, so its request goes on to the second one, which is full."""
    crowd.first.says = crowd.first.says.replace(b"200 OK", b"500 Internal Server Error")
    await crowd.come(*["a"] * 4)
    await crowd.come(*["b"] * 4)
    await crowd.come(*["c"] * 3)
    crowd.first.answer()  # the failed one waits for the second engine; its slot is for a `c`
    await crowd.until(lambda: crowd.rig.traffic.waiting() == {"m": 3})
    await crowd.settle()
    await crowd.finish(crowd.second)
    for _ in range(4):
        await crowd.finish(crowd.second)
    assert "a" in crowd.answered[:5]
    crowd.first.says = crowd.first.says.replace(b"500 Internal Server Error", b"200 OK")
    crowd.first.answer_all()
    crowd.second.answer_all()
    await crowd.results()
    assert len(crowd.answered) == 11


async def test_a_retry_waits_for_a_healthy_engine_rather_than_try_one_that_loads(crowd: Crowd) -> None:
    crowd.first.says = crowd.first.says.replace(b"200 OK", b"500 Internal Server Error")
    async with HeldEngine("third") as third:
        crowd.rig.add(third, slots=4)
        for _ in range(3):
            crowd.rig.registry.record_fact("third", Failed(Reason("loading", "It loads.")))
        await crowd.come(*["a"] * 8)
        crowd.first.answer()
        await crowd.until(lambda: crowd.rig.traffic.waiting() == {"m": 1})
        crowd.second.answer_all()
        await crowd.until(lambda: len(crowd.answered) == 5)
        assert third.posts == []
        crowd.first.answer_all()
        await crowd.results()


async def test_a_last_route_that_is_down_fails_at_once_for_those_that_wait(crowd: Crowd) -> None:
    crowd.rig.registry.remove("second")
    await crowd.come(*["a"] * 6)
    await crowd.first.__aexit__(None, None, None)  # it stops: every connection ends
    for _ in range(3):
        crowd.rig.registry.record_fact("first", Failed(DOWN))
    results = await crowd.results()
    assert [type(result) for result in results] == [EveryRouteDown] * 6
    assert crowd.rig.clock.armed == []


async def test_who_waits_is_named_as_they_call_themselves_and_the_wait_is_told(crowd: Crowd) -> None:
    await crowd.come(*["app"] * 8)
    crowd.rig.traffic.decisions.drain([])
    await crowd.come("aider/0.86 (linux)", "evil\x1b[31m\u202e" + "x" * 90, "")
    await crowd.come("", guest=Peer(id="f" * 64, name="anna\x07", url=""))
    queue = crowd.rig.queue.look("m")
    assert queue is not None
    names = {caller.name for caller in queue.callers}
    assert {"aider", "an app without a name", "anna"} < names
    [odd] = names - {"aider", "an app without a name", "anna"}
    assert odd.isprintable()
    assert len(odd) <= NAME_MAX
    crowd.rig.clock.pass_time(4.0)
    await crowd.finish(crowd.first)
    [told] = crowd.rig.traffic.decisions.drain([])
    assert (told.backend, told.waited_s) == ("first", 4.0)
    crowd.first.answer_all()
    crowd.second.answer_all()
    await crowd.results()


async def test_the_owners_requests_go_before_a_peers(crowd: Crowd) -> None:
    await crowd.come(*["app"] * 8)
    peer = Peer(id="f" * 64, name="peer", url="")
    await crowd.come("peer", "peer", guest=peer)
    await crowd.come("owner", "owner")
    for _ in range(4):
        await crowd.finish(crowd.first)
    for _ in range(4):
        await crowd.finish(crowd.first)
    assert crowd.answered[4:] == ["owner", "owner", "peer", "peer"]
    crowd.second.answer_all()
    await crowd.results()


async def test_only_routes_that_a_request_may_use_are_waited_for(crowd: Crowd) -> None:
    await crowd.come(*["app"] * 8)
    await crowd.come("picky", model="second/m")
    await crowd.come("any")
    await crowd.finish(crowd.first)
    assert crowd.rig.traffic.waiting() == {"m": 1}, "the first engine's slot was for the one that may use it"
    await crowd.finish(crowd.second)
    assert crowd.rig.traffic.waiting() == {}
    crowd.first.answer_all()
    crowd.second.answer_all()
    results = await crowd.results()
    assert results[8].who == "second"


async def test_a_long_prompt_waits_for_the_engine_that_holds_it_and_holds_no_other_one_up(
    crowd: Crowd,
) -> None:
    for name, context in (("first", 4096), ("second", 65_536)):
        details = {"m": ModelDetail(context=context)}
        crowd.rig.registry.record_probe(name, Probe(fact=Answered(0.01), details=details))
    long = msgspec.json.encode(
        {"model": "m", "messages": [{"role": "user", "content": "The quick brown fox. " * 4_000}]}
    )
    await crowd.come(*["app"] * 8)
    await crowd.come_with(long)
    await crowd.come("short")
    await crowd.finish(crowd.first)
    assert crowd.rig.traffic.waiting() == {"m": 1}, "the first engine's slot is for the short one"
    await crowd.finish(crowd.second)
    assert crowd.rig.traffic.waiting() == {}
    crowd.first.answer_all()
    crowd.second.answer_all()
    results = await crowd.results()
    assert [result.who for result in results[8:]] == ["second", "first"]


async def test_those_that_wait_for_a_model_that_falls_are_answered_by_its_fallback(crowd: Crowd) -> None:
    async with HeldEngine("third") as third:
        crowd.rig.add(third, "n", slots=1)
        crowd.rig.registry.route_by(Routing(policy="priority", rules=(Rule(model="m", fallback=("n",)),)))
        await crowd.come(*["app"] * 9)
        for name in ("first", "second"):
            for _ in range(3):
                crowd.rig.registry.record_fact(name, Failed(DOWN))
        await crowd.until(lambda: third.held == 1)
        third.answer_all()
        results = await crowd.results()
        assert {(result.who, result.headers["x-meshlight-model"]) for result in results} == {("third", "n")}
        assert (len(results), third.most) == (9, 1)


async def test_a_longer_queue_is_refused_with_its_reason(crowd: Crowd) -> None:
    await crowd.come(*["app"] * 68)
    with pytest.raises(AllBusy) as caught:
        await crowd.rig.send()
    assert caught.value.title == "Too many requests wait for 'm': 8 of 8 slots busy, 60 requests wait."
    assert (caught.value.retry_after_s, caught.value.attempts) == (5.0, 0)
    crowd.first.answer_all()
    crowd.second.answer_all()
    await crowd.results()


@pytest.mark.parametrize(("queue_s", "waited"), [(None, "300"), (20.0, "20")])
async def test_a_wait_ends_with_the_reason(crowd: Crowd, queue_s: float | None, waited: str) -> None:
    crowd.rig.registry.route_by(Routing(policy="priority", queue_s=queue_s))
    await crowd.come(*["app"] * 8)
    await crowd.come("late")
    crowd.rig.clock.pass_time(float(waited))
    error = (await asyncio.gather(crowd.tasks[8], return_exceptions=True))[0]
    assert isinstance(error, AllBusy)
    assert (
        error.title == f"No slot for 'm' became free within {waited} s: 8 of 8 slots busy, 0 requests wait."
    )
    crowd.first.answer_all()
    crowd.second.answer_all()
    await crowd.results()


async def test_a_retry_that_waits_too_long_gets_the_error_of_its_attempt(crowd: Crowd) -> None:
    await crowd.come(*["app"] * 8)
    for _ in range(3):
        crowd.rig.registry.record_fact("first", Failed(DOWN))
    await crowd.settle()
    crowd.rig.clock.pass_time(300.0)
    crowd.second.answer_all()
    results = await crowd.results()
    failed = [result for result in results if isinstance(result, EveryRouteDown)]
    assert [error.attempts for error in failed] == [1] * 4
    assert len(crowd.answered) == 4


async def test_without_the_queue_engines_get_everything_as_it_comes(crowd: Crowd) -> None:
    crowd.rig.registry.route_by(Routing(policy="priority", queue=False))
    await crowd.come(*["app"] * 12)
    assert (crowd.first.held, crowd.second.held) == (8, 4), "free slots first, then the first of them for all"
    assert crowd.rig.traffic.waiting() == {}
    crowd.first.answer_all()
    crowd.second.answer_all()
    await crowd.results()


async def test_those_that_wait_use_a_backend_that_comes_and_learn_when_the_last_one_goes(
    crowd: Crowd,
) -> None:
    await crowd.come(*["app"] * 10)
    async with HeldEngine("third") as third:
        third.answer_all()
        crowd.rig.add(third, slots=1)
        await crowd.until(lambda: len(crowd.answered) == 2)
    crowd.rig.registry.remove("third")
    await crowd.come("app")
    crowd.rig.registry.remove("first")
    crowd.rig.registry.remove("second")
    errors = await asyncio.gather(crowd.tasks[10], return_exceptions=True)
    assert isinstance(errors[0], ModelNotFound)
    crowd.first.answer_all()
    crowd.second.answer_all()
    await crowd.results()


async def test_a_rule_for_the_model_counts_for_those_that_wait(crowd: Crowd) -> None:
    crowd.rig.registry.route_by(Routing(policy="priority", rules=(Rule(model="m", pin=("second",)),)))
    await crowd.come(*["app"] * 6)
    assert (crowd.first.held, crowd.second.held, crowd.rig.traffic.waiting()) == (0, 4, {"m": 2})
    crowd.second.answer_all()
    await crowd.results()
    assert crowd.second.most == 4
