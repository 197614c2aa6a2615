"""Requests that are too long for some of their routes, through the relay."""

from typing import Any

import pytest
from msgspec import Struct

from gateway.rig import RecordedAnswer, Rig
from meshlight.backends.base import Probe
from meshlight.domain.backend import Kind, ModelDetail, Ring
from meshlight.domain.errors import ContextExceeded, EveryRouteDown
from meshlight.domain.health import Answered
from meshlight.gateway.inference.request import Head, InferenceRequest
from meshlight.gateway.server.disconnect import DisconnectListeners
from meshlight.simulator.engine import SimulatedEngine
from servers.byte_server import ByteServer, Peer

LONG = [{"role": "user", "content": "The quick brown fox jumps over the lazy dog. " * 2_000}]
"""About 20,000 tokens."""
TOO_LONG = (
    b'{"error":{"code":400,"message":"request (900 tokens) exceeds the available context size (512 tokens)"}}'
)
NO_SERVER = "http://127.0.0.1:9"


class Place(Struct):
    name: str
    url: str
    kind: Kind = "llamacpp"


class Guest(Struct):
    id: str = "guest"
    share_rings: tuple[Ring, ...] = ("machine",)
    share_models: tuple[str, ...] | None = None


def holds(rig: Rig, name: str, context: int, *, loaded: bool | None = None) -> None:
    details = {"m": ModelDetail(context=context, loaded=loaded)}
    rig.registry.record_probe(name, Probe(fact=Answered(0.01), details=details))


def answering(body: bytes, status: bytes = b"400 Bad Request") -> Any:
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % (
        status,
        len(body),
    )

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(head + body[:20], body[20:])

    return script


async def test_a_long_prompt_goes_to_the_one_that_holds_it_and_a_short_one_to_the_first() -> None:
    rig = Rig()
    async with SimulatedEngine("llamacpp", "a", ["m"]) as a, SimulatedEngine("llamacpp", "b", ["m"]) as b:
        rig.add(a)
        rig.add(b)
        holds(rig, "a", 4096)
        holds(rig, "b", 65_536)
        long, short = await rig.send(messages=LONG), await rig.send()
        assert [(answer.who, answer.headers["x-meshlight-why"]) for answer in (long, short)] == [
            ("b", "only one with 64k context"),
            ("a", "first by priority"),
        ]
        assert len(a.calls()) == 1


async def test_of_several_that_hold_it_the_best_one_is_told_with_its_reason() -> None:
    rig = Rig()
    async with SimulatedEngine("llamacpp", "a", ["m"]) as a, SimulatedEngine("llamacpp", "b", ["m"]) as b:
        rig.add(a)
        rig.add(b)
        rig.add(Place("c", NO_SERVER))
        for name, context in (("a", 4096), ("b", 65_536), ("c", 65_536)):
            holds(rig, name, context)
        for _ in range(2):
            answer = await rig.send(messages=LONG)
            assert (answer.who, answer.headers["x-meshlight-why"]) == ("b", "first by priority")
        assert (await rig.send()).who == "a"


async def test_a_second_attempt_prefers_the_one_that_holds_prompt_and_answer() -> None:
    rig = Rig()
    async with SimulatedEngine("llamacpp", "b", ["m"]) as b, SimulatedEngine("llamacpp", "c", ["m"]) as c:
        rig.add(Place("a", NO_SERVER))
        rig.add(b)
        rig.add(c)
        holds(rig, "b", 22_528)
        holds(rig, "c", 65_536)
        answer = await rig.send(messages=LONG, max_tokens=16_000)
        assert (answer.who, answer.headers["x-meshlight-attempts"]) == ("c", "2")


async def test_the_only_route_is_not_asked_what_it_can_not_hold() -> None:
    rig = Rig()
    async with SimulatedEngine("llamacpp", "a", ["m"]) as a:
        rig.add(a)
        holds(rig, "a", 4096)
        for _ in range(2):  # the second one finds the route remembered
            assert (await rig.send()).who == "a"
            with pytest.raises(ContextExceeded, match="maximum context length is 4096 tokens"):
                await rig.send(messages=LONG)
        assert len(a.calls()) == 2
        assert rig.traffic.router.requests().failed == 2


async def test_a_prompt_that_only_a_dead_machine_holds_is_not_called_too_long() -> None:
    rig = Rig()
    async with SimulatedEngine("llamacpp", "a", ["m"]) as a:
        rig.add(a)
        rig.add(Place("b", NO_SERVER))
        holds(rig, "a", 4096)
        holds(rig, "b", 65_536)
        with pytest.raises(EveryRouteDown, match="b: "):
            await rig.send(messages=LONG)
        assert not a.calls()


async def test_an_engine_that_refuses_the_length_is_not_blamed_and_a_larger_one_is_tried() -> None:
    for status in (b"400 Bad Request", b"500 Internal Server Error"):
        rig = Rig()
        async with (
            ByteServer(answering(TOO_LONG, status)) as server,
            SimulatedEngine("llamacpp", "b", ["m"]) as b,
            SimulatedEngine("llamacpp", "c", ["m"]) as c,
        ):
            rig.add(Place("a", server.url))
            rig.add(b)
            rig.add(c)
            holds(rig, "b", 512)
            answer = await rig.send()
            assert (answer.who, answer.headers["x-meshlight-attempts"]) == ("c", "2")
            assert not b.calls()
            assert rig.state("a") == ("healthy", "ok")
            assert rig.prober.probed_soon == []


async def test_without_a_larger_one_the_client_reads_who_refused() -> None:
    rig = Rig()
    async with ByteServer(answering(TOO_LONG)) as server:
        rig.add(Place("a", server.url))
        with pytest.raises(ContextExceeded) as caught:
            await rig.send()
    assert (caught.value.limit, caught.value.tokens, caught.value.attempts) == (512, 900, 1)
    assert caught.value.hint.startswith("m at a says: request (900 tokens) exceeds")


async def test_a_cloud_that_says_it_in_the_clients_words_is_passed_on() -> None:
    body = (
        b'{"error":{"message":"This model\'s maximum context length is 9","code":"context_length_exceeded"}}'
    )
    rig = Rig()
    async with ByteServer(answering(body)) as server:
        rig.add(Place("a", server.url, "openai-compatible"))
        answer = await rig.send()
    assert (answer.status, answer.body, answer.who) == (400, body, "a")


async def test_a_guest_reads_the_size_and_no_name() -> None:
    rig = Rig()
    async with ByteServer(answering(TOO_LONG)) as server:
        rig.add(Place("a", server.url))
        inbound: InferenceRequest = rig.inbound(
            "chat/completions", "m", b'{"model":"m","messages":[]}'
        ).changed(
            guest=Guest(),
            head=Head("m"),
        )
        with pytest.raises(ContextExceeded) as caught:
            await rig.relay.run(inbound, RecordedAnswer(), DisconnectListeners())
    assert (caught.value.limit, caught.value.hint) == (512, "")


async def test_a_prompt_that_ollama_cut_is_told_on_its_card() -> None:
    body = (
        b'{"message":{"role":"assistant","content":"?"},"done":true,"prompt_eval_count":4096,"eval_count":3}'
    )
    rig = Rig()
    async with ByteServer(answering(body, b"200 OK")) as server:
        rig.add(Place("a", server.url, "ollama"))
        holds(rig, "a", 131_072, loaded=False)
        assert (await rig.send("api/chat", messages=LONG)).status == 200
        assert "was cut to 4,096" in rig.registry.node("a").about["Prompts cut"]
