"""Other models that answer while the requested one can't, through the relay: never silently, and only for that."""

from typing import Any

import pytest
from msgspec import Struct

from gateway.rig import RecordedAnswer, Rig
from meshlight.domain.backend import Kind, Reason, Ring
from meshlight.domain.errors import EveryRouteDown, ModelNotFound
from meshlight.domain.health import Failed
from meshlight.domain.rules import Routing, Rule
from meshlight.gateway.server.disconnect import DisconnectListeners
from meshlight.simulator.engine import SimulatedEngine
from servers.byte_server import ByteServer, answering

NO_SERVER = "http://127.0.0.1:9"
SILENT = Reason("timed-out", "It did not answer in time.")
RULES = Routing(policy="priority", rules=(Rule(model="m", fallback=("n",)),))


class Place(Struct):
    name: str
    url: str
    kind: Kind = "llamacpp"


class Guest(Struct):
    id: str = "guest"
    share_rings: tuple[Ring, ...] = ("machine",)
    share_models: tuple[str, ...] | None = None


def down(rig: Rig, name: str) -> None:
    for _ in range(3):
        rig.registry.record_fact(name, Failed(SILENT))


def said(answer: RecordedAnswer) -> tuple[str, str | None, str | None]:
    headers = answer.headers
    return answer.who, headers.get("x-meshlight-model"), headers.get("x-meshlight-fallback")


async def test_another_model_answers_while_the_requested_one_is_down_and_says_so() -> None:
    rig = Rig(RULES)
    async with SimulatedEngine("llamacpp", "a", ["m"]) as a, SimulatedEngine("llamacpp", "b", ["n"]) as b:
        rig.add(a)
        rig.add(b, "n")
        assert said(await rig.send()) == ("a", None, None)
        down(rig, "a")
        for _ in range(2):
            answer = await rig.send()
            assert said(answer) == ("b", "n", "m is down")
            assert b'"model":"m"' in answer.body.replace(b" ", b"")
        assert b'"model":"n"' in b.calls()[-1].body.replace(b" ", b"")
        assert {name: work.total for name, work in rig.traffic.by_model().items()} == {"m": 1, "n": 2}


async def test_a_translated_answer_names_the_requested_model_too() -> None:
    rig = Rig(RULES)
    async with SimulatedEngine("vllm", "b", ["n"]) as b:
        rig.add(Place("a", NO_SERVER))
        rig.add(b, "n")
        down(rig, "a")
        for operation in ("messages", "responses"):
            fields = {"max_tokens": 9} if operation == "messages" else {"input": "hi"}
            answer = await rig.send(operation, **fields)
            assert said(answer) == ("b", "n", "m is down"), answer.body
            assert b'"model":"m"' in answer.body.replace(b" ", b"")


async def test_a_route_that_turns_out_to_be_down_is_followed_by_the_fallback() -> None:
    rig = Rig(RULES)
    async with SimulatedEngine("llamacpp", "b", ["n"]) as b:
        rig.add(Place("a", NO_SERVER))
        rig.add(b, "n")
        answer = await rig.send()
        assert said(answer) == ("b", "n", "m is down")
        assert answer.headers["x-meshlight-attempts"] == "2"


@pytest.mark.parametrize("status", [b"400 Bad Request", b"404 Not Found", b"500 Internal Server Error"])
async def test_an_error_of_the_request_goes_to_no_other_model(status: bytes) -> None:
    rig = Rig(RULES)
    body = b'{"error":{"message":"bad"}}'
    refusal = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        status,
        len(body),
        body,
    )
    async with ByteServer(answering(refusal)) as server, SimulatedEngine("llamacpp", "b", ["n"]) as b:
        rig.add(Place("a", server.url))
        rig.add(b, "n")
        answer = await rig.send()
        assert (answer.who, answer.status) == ("a", int(status[:3]))
        assert not b.calls()


async def test_without_a_rule_nothing_else_answers() -> None:
    rig = Rig()
    async with SimulatedEngine("llamacpp", "b", ["n"]) as b:
        rig.add(Place("a", NO_SERVER))
        rig.add(b, "n")
        with pytest.raises(EveryRouteDown):
            await rig.send()
        assert not b.calls()


async def test_a_pattern_leads_to_the_first_usable_model_of_its_list() -> None:
    rig = Rig(Routing(policy="priority", aliases={"claude-*": ("m", "n")}))
    async with SimulatedEngine("llamacpp", "a", ["m"]) as a, SimulatedEngine("llamacpp", "b", ["n"]) as b:
        rig.add(a)
        rig.add(b, "n")
        answer = await rig.send(model="claude-sonnet-5")
        assert said(answer) == ("a", "m", None)
        assert b'"model":"claude-sonnet-5"' in answer.body.replace(b" ", b"")
        down(rig, "a")
        assert said(await rig.send(model="claude-sonnet-5")) == ("b", "n", "m is down")
        with pytest.raises(ModelNotFound):
            await rig.send(model="gpt-5")


async def ask_as_guest(rig: Rig, guest: Guest, model: str = "m") -> RecordedAnswer:
    body = b'{"model":"%b","messages":[{"role":"user","content":"hi"}]}' % model.encode()
    inbound: Any = rig.inbound("chat/completions", model, body).changed(guest=guest)
    answer = RecordedAnswer()
    await rig.relay.run(inbound, answer, DisconnectListeners())
    return answer


async def test_a_guest_gets_only_a_fallback_that_it_may_use_and_reads_of_it() -> None:
    rig = Rig(RULES)
    async with SimulatedEngine("llamacpp", "a", ["m"]) as a, SimulatedEngine("llamacpp", "b", ["n"]) as b:
        rig.add(a)
        rig.add(b, "n")
        assert "x-meshlight-model" not in (await ask_as_guest(rig, Guest())).headers
        down(rig, "a")
        answer = await ask_as_guest(rig, Guest())
        assert answer.headers["x-meshlight-model"] == "n"
        assert answer.headers["x-meshlight-fallback"] == "m is down"
        assert "x-meshlight-backend" not in answer.headers
        await a.fault("refuse")
        with pytest.raises(EveryRouteDown):
            await ask_as_guest(rig, Guest(share_models=("m",)))
        with pytest.raises(ModelNotFound):  # not shared: its fallback is none of the guest's business
            await ask_as_guest(rig, Guest(share_models=("n",)))


async def test_what_a_peer_says_of_its_own_fallback_is_passed_on() -> None:
    body = b'{"model":"n","choices":[]}'
    said_by_peer = b"x-meshlight-model: n\r\nx-meshlight-fallback: m is down\xff\r\n"
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%bcontent-length: %d\r\n\r\n%b"
    rig = Rig()
    async with ByteServer(answering(head % (said_by_peer, len(body), body))) as server:
        rig.add(Place("a", server.url, "peer"))
        assert said(await rig.send()) == ("a", "n", "m is down?")
    rig = Rig()
    async with ByteServer(answering(head % (said_by_peer, len(body), body))) as server:
        rig.add(Place("a", server.url))  # an engine has no say in it
        assert said(await rig.send()) == ("a", None, None)
