"""The relay on a clock that stands still: which routes it tries, how many, and what it records of their backends."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from msgspec import Struct

from gateway.rig import RecordedAnswer, Rig
from meshlight.domain.backend import Kind, Reason
from meshlight.domain.errors import (
    BackendFailed,
    EveryRouteDown,
    FirstByteTooLate,
    ModelNotFound,
    RoutingLoop,
)
from meshlight.domain.health import Answered, Failed
from meshlight.domain.rules import Routing
from meshlight.gateway.server.disconnect import DisconnectListeners
from meshlight.http_client.connector import Resolver
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.protocols.text import StepGate

SILENT = Reason("timed-out", "It did not answer in time.")
NO_SERVER = "http://127.0.0.1:9"


class Place(Struct):
    """An address where nothing as good as an engine is."""

    name: str
    url: str
    kind: Kind = "llamacpp"


@contextmanager
def deaf_port() -> Iterator[str]:
    """Listen, take no connection, and have the queue full: who connects hears nothing at all."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        callers = [socket.socket() for _ in range(4)]
        for caller in callers:
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for caller in callers:
            caller.close()


def nowhere(host: str) -> list[str]:
    raise socket.gaierror(socket.EAI_NONAME, f"{host} is not known")


async def test_a_name_that_leads_nowhere_is_no_obstacle() -> None:
    rig = Rig(resolver=Resolver(nowhere))
    async with SimulatedEngine("vllm", "good", ["m"]) as engine:
        rig.add(Place("gone", "http://no-such-host.example:8080"))
        rig.add(engine)
        assert (await rig.send()).who == "good"
        assert rig.state("gone") == ("unhealthy", "name-not-found")
        assert rig.prober.probed_soon == ["gone"]


async def test_a_machine_that_does_not_answer_the_connect_is_no_obstacle() -> None:
    rig = Rig()
    with deaf_port() as url:
        async with SimulatedEngine("vllm", "good", ["m"]) as engine:
            rig.add(Place("off", url))
            rig.add(engine)
            assert (await rig.send()).who == "good"
            assert rig.state("off") == ("unhealthy", "timed-out")


async def test_one_request_makes_three_attempts_at_most() -> None:
    rig = Rig()
    for number in range(6):
        rig.add(Place(f"p{number}", NO_SERVER))
    with pytest.raises(EveryRouteDown) as caught:
        await rig.send()
    assert caught.value.attempts == 3
    assert [name for name in caught.value.title.split() if name.startswith("p")] == ["p0:", "p1:", "p2:"]


async def test_the_first_failover_from_a_trusted_backend_costs_nothing_and_the_rest_has_a_budget() -> None:
    """Two of three backends answer 500 for ever, and are believed in again each time."""
    rig = Rig()
    async with (
        SimulatedEngine("llamacpp", "a", ["m"]) as a,
        SimulatedEngine("llamacpp", "b", ["m"]) as b,
        SimulatedEngine("llamacpp", "c", ["m"]) as c,
    ):
        for engine in (a, b, c):
            rig.add(engine)
        await a.fault("status", status=500, scope="inference")
        await b.fault("status", status=500, scope="inference")
        statuses = []
        for _ in range(40):
            answer = await rig.send()
            statuses.append(answer.status)
            for name in ("a", "b"):
                rig.registry.renew(name)
                rig.registry.record_fact(name, Answered(0.01))
        # Each request had its free failover to b; the second one to c is a retry out of the budget.
        assert len(b.calls()) == 40
        assert len(c.calls()) == statuses.count(200) == 8  # a fifth of 40, of which 3 at once
        assert statuses[:3] == [200] * 3
        assert statuses[3:12] == [500] * 9
        rig.clock.pass_time(20)
        assert [(await rig.send()).status for _ in range(3)] == [200] * 3  # a new window


async def test_a_request_without_another_route_takes_nothing_out_of_the_budget() -> None:
    rig = Rig()
    async with (
        SimulatedEngine("llamacpp", "a", ["alone", "m"]) as a,
        SimulatedEngine("llamacpp", "b", ["m"]) as b,
        SimulatedEngine("llamacpp", "c", ["m"]) as c,
    ):
        rig.add(a, "alone", "m")
        rig.add(b)
        rig.add(c)
        await a.fault("status", status=500, scope="inference")
        await b.fault("status", status=500, scope="inference")
        for _ in range(10):
            assert (await rig.send(model="alone")).status == 500
        rig.registry.renew("a")
        rig.registry.record_fact("a", Answered(0.01))
        assert (await rig.send()).who == "c"


async def test_each_attempt_is_ranked_anew() -> None:
    """What became known while the first attempt ran counts for the second."""
    rig = Rig()
    gate = StepGate()
    async with (
        SimulatedEngine("llamacpp", "a", ["m"]) as a,
        SimulatedEngine("llamacpp", "b", ["m"]) as b,
        SimulatedEngine("llamacpp", "c", ["m"], first_token_s=1, pace=gate) as c,
    ):
        for engine in (a, b, c):
            rig.add(engine)
        await a.fault("hang-headers", scope="inference")
        asking = asyncio.create_task(rig.send())
        await a.received(1, "/v1/chat")
        rig.registry.record_fact("b", Failed(SILENT))
        rig.registry.record_fact("b", Failed(SILENT))
        rig.registry.record_fact("a", Failed(SILENT))
        rig.registry.record_fact("a", Failed(SILENT))
        await c.received(1, "/v1/chat")
        assert rig.traffic.load == {"a": 0, "c": 1}
        gate.open()
        assert (await asking).who == "c"
        assert not b.calls()
        assert rig.traffic.load == {"a": 0, "c": 0}


async def test_round_robin_takes_turns() -> None:
    rig = Rig(Routing(policy="round-robin"))
    async with SimulatedEngine("llamacpp", "a", ["m"]) as a, SimulatedEngine("llamacpp", "b", ["m"]) as b:
        rig.add(a)
        rig.add(b)
        assert [(await rig.send()).who for _ in range(6)] in (["a", "b"] * 3, ["b", "a"] * 3)


async def test_the_kind_of_error_tells_what_happened_last() -> None:
    rig = Rig()
    async with SimulatedEngine("llamacpp", "a", ["m"]) as engine:
        rig.add(engine, first_byte_s=0.1)
        await engine.fault("hang-headers", scope="inference")
        with pytest.raises(FirstByteTooLate):
            await rig.send()
        await engine.fault("garbage", scope="inference")
        with pytest.raises(BackendFailed):
            await rig.send()
        await engine.fault("refuse")
        with pytest.raises(EveryRouteDown, match=r"is llama\.cpp running"):
            await rig.send()
        with pytest.raises(ModelNotFound):
            await rig.send(model="n")
    counts = rig.traffic.router.requests()
    assert (counts.total, counts.failed, counts.in_flight) == (4, 4, 0)


async def test_the_clients_departure_during_a_failing_attempt_ends_the_walk() -> None:
    rig = Rig()
    async with SimulatedEngine("llamacpp", "a", ["m"]) as a, SimulatedEngine("llamacpp", "b", ["m"]) as b:
        rig.add(a)
        rig.add(b)
        await a.fault("hang-headers", scope="inference")
        disconnect = DisconnectListeners()
        asking = asyncio.create_task(rig.send(disconnect=disconnect))
        await a.received(1, "/v1/chat")
        # Both in one turn of the loop: the backend falls, and the client goes.
        rig.registry.record_fact("a", Failed(SILENT))
        rig.registry.record_fact("a", Failed(SILENT))
        disconnect.fire()
        answer = await asking
        await a.abandoned(1, "/v1/chat")
        assert (answer.status, answer.is_whole) == (0, False)
        assert not b.calls()
        assert rig.traffic.router.requests().cancelled == 1


async def test_a_client_that_left_before_it_began_is_not_served() -> None:
    rig = Rig()
    async with SimulatedEngine("llamacpp", "a", ["m"]) as engine:
        rig.add(engine)
        disconnect = DisconnectListeners()
        disconnect.fire()
        assert (await rig.send(disconnect=disconnect)).status == 0
        assert rig.traffic.router.requests().cancelled == 1
        assert (await rig.send()).status == 200


async def test_a_client_may_leave_while_its_backend_is_still_being_reached() -> None:
    rig = Rig()
    with deaf_port() as url:
        rig.add(Place("off", url))
        disconnect = DisconnectListeners()
        asking = asyncio.create_task(rig.send(disconnect=disconnect))
        await asyncio.sleep(0)
        disconnect.fire()
        assert (await asking).status == 0
    assert rig.traffic.load == {"off": 0}
    assert rig.state("off") == ("healthy", "ok")


async def test_the_end_of_the_service_ends_a_request_and_is_no_departure() -> None:
    rig = Rig()
    async with SimulatedEngine("llamacpp", "a", ["m"]) as engine:
        rig.add(engine)
        await engine.fault("hang-headers", scope="inference")
        asking = asyncio.create_task(rig.send())
        await engine.received(1, "/v1/chat")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await engine.abandoned(1, "/v1/chat")
        assert rig.traffic.load == {"a": 0}


async def test_a_circle_is_refused_before_anything_is_counted() -> None:
    rig = Rig()
    plain = rig.inbound("chat/completions", "m", b"{}")
    for visited in (("this-node",), ("x", "y", "z")):
        inbound = plain.changed(visited=visited)
        with pytest.raises(RoutingLoop, match=" → ".join(visited)):
            await rig.relay.run(inbound, RecordedAnswer(), DisconnectListeners())
    assert rig.traffic.router.requests().total == 0


@pytest.mark.parametrize("status", [503, 502, 429])
async def test_a_model_that_fails_at_a_peer_costs_its_other_models_nothing(status: int) -> None:
    rig = Rig()
    async with (
        SimulatedEngine("vllm", "peer", ["m", "n"]) as peer,
        SimulatedEngine("vllm", "own", ["m", "n"]) as own,
    ):
        rig.add(peer, "m", "n", kind="peer")
        rig.add(own, "m", "n", source="found")
        await peer.fault("status", status=status)
        assert [(await rig.send()).who for _ in range(4)] == ["own"] * 4
        assert len(peer.calls()) == (1 if status == 429 else 3)
        assert rig.state("peer") == ("healthy", "ok")
        await peer.clear()
        assert (await rig.send(model="n")).who == "peer"
        assert (await rig.send()).who == "own"
        rig.clock.pass_time(60)
        rig.registry.remove("own")
        assert (await rig.send()).who == "peer"
        assert not rig.registry.node("peer").parts


async def test_a_peer_that_can_not_be_reached_is_down_for_every_model() -> None:
    rig = Rig()
    async with SimulatedEngine("vllm", "own", ["m", "n"]) as own:
        rig.add(Place("peer", NO_SERVER), "m", "n", kind="peer")
        rig.add(own, "m", "n", source="found")
        assert (await rig.send()).who == "own"
        assert rig.state("peer")[0] == "unhealthy"
