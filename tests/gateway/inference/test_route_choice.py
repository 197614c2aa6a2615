"""Each request goes to the best place, and its answer says why."""

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec import Struct
from msgspec.structs import replace

from gateway.rig import RecordedAnswer, Rig
from meshlight.backends.base import Probe
from meshlight.domain.backend import Kind, ModelDetail
from meshlight.domain.errors import BadRequest
from meshlight.domain.health import Answered
from meshlight.domain.peers import Peer
from meshlight.domain.rules import Routing
from meshlight.gateway.server.disconnect import DisconnectListeners
from meshlight.gateway.translation.responses.memory import StoredResponses
from meshlight.simulator.engine import SimulatedEngine
from node import Node

WHY = "x-meshlight-why"


class Router(Struct):
    """A backend that keeps its own responses."""

    name: str
    url: str
    kind: Kind = "continuum"


def tell(rig: Rig, name: str, **detail: object) -> None:
    """Let a backend tell of its model `m`, at a probe now."""
    details = {"m": ModelDetail(**detail)}  # type: ignore[arg-type]
    rig.registry.record_probe(name, Probe(fact=Answered(0.01), details=details))


async def turn(rig: Rig, conversation: str, number: int) -> RecordedAnswer:
    """Send one turn of a conversation, with all that was said before."""
    said = [{"role": "user", "content": conversation}]
    for before in range(number):
        said += [{"role": "assistant", "content": str(before)}, {"role": "user", "content": "and then?"}]
    return await rig.send(messages=said)


async def test_twenty_of_twenty_go_to_the_one_where_the_model_is_warm(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("ollama", "cold", ["m"]) as cold,
        SimulatedEngine("ollama", "warm", ["m"]) as warm,
    ):
        cold.facts.loaded.clear()
        async with Node(tmp_path, [cold, warm]) as node:
            for number in range(20):
                answer = await node.chat("m", messages=[{"role": "user", "content": str(number)}])
                assert answer.headers["x-meshlight-backend"] == "warm"
                assert answer.headers[WHY] == "warm here"
            route = (await node.http.get("/mesh/route?model=m")).json()
            shown = [(r["backend"], r["loaded"], r["context"], r["why"]) for r in route["routes"]]
            assert shown == [
                ("warm", True, 4096, "Warm here."),
                ("cold", False, None, "After warm: it has to load the model."),
            ]
            assert route["routes"][0]["expected_s"] >= 0
            route = (await node.http.get("/mesh/route?model=m&tokens=8000")).json()
            assert [r["backend"] for r in route["routes"]] == ["cold", "warm"]
        assert not cold.calls()


async def test_with_one_route_nothing_is_said() -> None:
    rig = Rig(Routing())
    async with SimulatedEngine("ollama", "a", ["m"]) as engine:
        rig.add(engine)
        for _ in range(2):
            assert WHY not in (await rig.send()).headers


async def test_the_last_warm_slot_is_taken_and_then_the_other_place() -> None:
    rig = Rig(Routing())
    async with SimulatedEngine("vllm", "a", ["m"]) as a, SimulatedEngine("vllm", "b", ["m"]) as b:
        rig.add(a)
        rig.add(b)
        tell(rig, "a", loaded=True, slots=1)
        tell(rig, "b", loaded=False, slots=1)
        assert (await rig.send()).who == "a"
        ticket = rig.traffic.reserve("a", "m")
        answer = await rig.send()
        assert (answer.who, answer.headers[WHY]) == ("b", "a is full")
        ticket.close("ok")


async def test_four_conversations_stay_where_they_began() -> None:
    rig = Rig(Routing())
    async with SimulatedEngine("vllm", "a", ["m"]) as a, SimulatedEngine("vllm", "b", ["m"]) as b:
        rig.add(a)
        rig.add(b)
        places: dict[str, list[str]] = {name: [] for name in ("one", "two", "three", "four")}
        held = {}
        for number in range(12):
            for name, went in places.items():
                # Two requests of others come and go, now here and now there.
                place = "ab"[(number + len(name)) % 2]
                held[name] = rig.traffic.reserve(place, "m")
                answer = await turn(rig, name, number)
                went.append(answer.who)
                if number:
                    assert answer.headers[WHY] == "same conversation"
                held[name].close("ok")
        moves = sum(a != b for went in places.values() for a, b in pairwise(went))
        assert moves == 0
        assert len(Counter(went[0] for went in places.values())) == 2


async def test_a_slow_place_loses_its_requests_within_ten_and_gets_them_back() -> None:
    rig = Rig(Routing())
    factor = {"a": 1.0, "b": 1.0}

    def engine(name: str, first_token_s: float) -> SimulatedEngine:
        async def pace(seconds: float) -> None:
            rig.clock.pass_time(seconds * factor[name])

        return SimulatedEngine("vllm", name, ["m"], first_token_s=first_token_s, pace=pace)

    async with engine("a", 0.5) as a, engine("b", 0.8) as b:
        rig.add(a)
        rig.add(b)

        async def send(count: int, first: int = 0) -> list[str]:
            return [(await turn(rig, f"{first} {number}", 0)).who for number in range(count)]

        assert (await send(10))[-5:] == ["a"] * 5
        factor["a"] = 10.0
        assert (await send(10, 1))[-1] == "b"
        assert set(await send(10, 2)) == {"b"}
        factor["a"] = 1.0
        rig.clock.pass_time(300)
        assert (await send(10, 3))[-5:] == ["a"] * 5
        answer = await turn(rig, "the last", 0)
        assert answer.headers[WHY].startswith("expected in 0.")


async def test_a_cold_place_is_warm_at_once_after_its_first_answer() -> None:
    rig = Rig(Routing())
    async with SimulatedEngine("ollama", "a", ["m"]) as a, SimulatedEngine("ollama", "b", ["m"]) as b:
        rig.add(a)
        rig.add(b)
        tell(rig, "a", loaded=False)
        tell(rig, "b", loaded=False)
        rig.clock.pass_time(1)
        first = await turn(rig, "one", 0)
        second = await turn(rig, "two", 0)
        assert (second.who, second.headers[WHY]) == (first.who, "warm here")


async def test_after_a_failure_the_reason_is_the_failure() -> None:
    rig = Rig(Routing())
    async with SimulatedEngine("vllm", "a", ["m"]) as a, SimulatedEngine("vllm", "b", ["m"]) as b:
        rig.add(a)
        rig.add(b)
        await a.fault("status", status=500, scope="inference")
        answer = await rig.send()
        assert (answer.who, answer.headers[WHY]) == ("b", "the first choice failed")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_response_is_continued_where_it_was_made(stream: bool) -> None:
    rig = Rig(Routing(policy="round-robin"))
    async with SimulatedEngine("vllm", "a", ["m"]) as a, SimulatedEngine("vllm", "b", ["m"]) as b:
        for engine in (a, b):
            rig.add(Router(engine.name, engine.url), ring="lan")
        stored = StoredResponses()

        async def send(**fields: object) -> RecordedAnswer:
            body = rig.encoded({"model": "m", "input": "hi", "stream": stream} | fields)
            inbound = rig.inbound("responses", "m", body).changed(stored=stored)
            answer = RecordedAnswer()
            await rig.relay.run(inbound, answer, DisconnectListeners())
            return answer

        answer = await send()
        made = answer.body.split(b'"id":"resp')[1].split(b'"')[0]
        previous = f"resp{made.decode()}"
        assert {(await send(previous_response_id=previous)).who for _ in range(4)} == {answer.who}
        assert {(await send(previous_response_id="resp_of_others")).who for _ in range(4)} == {"a", "b"}
        rig.registry.remove(answer.who)
        assert (await send(previous_response_id=previous)).status == 200, "there is only one left"
        rig.add(Router("c", a.url), ring="lan")
        other = "b" if answer.who == "a" else "a"
        assert {(await send(previous_response_id=previous)).who for _ in range(4)} == {other, "c"}


async def test_a_response_whose_backend_is_switched_off_is_not_sent_elsewhere() -> None:
    rig = Rig(Routing())
    async with SimulatedEngine("vllm", "a", ["m"]) as a, SimulatedEngine("vllm", "b", ["m"]) as b:
        for engine in (a, b):
            rig.add(Router(engine.name, engine.url), "m", "n", ring="lan")
        body = rig.encoded({"model": "m", "input": "hi"})
        inbound = rig.inbound("responses", "m", body).changed(stored=StoredResponses())
        answer = RecordedAnswer()
        await rig.relay.run(inbound, answer, DisconnectListeners())
        owner = rig.registry.node(answer.who).backend
        made = answer.body.split(b'"id":"resp')[1].split(b'"')[0].decode()
        rig.add(Router("c", a.url), ring="lan")
        rig.registry.put(replace(owner, enabled=False))
        body = rig.encoded({"model": "m", "input": "hi", "previous_response_id": f"resp{made}"})
        with pytest.raises(BadRequest, match=f"is kept by {answer.who}") as caught:
            await rig.relay.run(inbound.changed(body=body), RecordedAnswer(), DisconnectListeners())
        assert caught.value.param == "previous_response_id"


async def test_a_guest_is_not_told_why() -> None:
    rig = Rig(Routing())
    async with SimulatedEngine("vllm", "a", ["m"]) as a, SimulatedEngine("vllm", "b", ["m"]) as b:
        rig.add(a)
        rig.add(b)
        guest = Peer(id="c" * 64, name="Cleo", url="")
        body = rig.encoded({"model": "m", "messages": [{"role": "user", "content": "hi"}]})
        answer = RecordedAnswer()
        inbound = rig.inbound("chat/completions", "m", body).changed(guest=guest)
        await rig.relay.run(inbound, answer, DisconnectListeners())
        assert answer.status == 200
        assert not [name for name in answer.headers if name.startswith("x-meshlight")]
