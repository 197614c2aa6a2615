"""How often a request was sent, as the client reads it, and who may be sent one twice."""

from typing import Any

import pytest
from msgspec import Struct

from gateway.rig import Rig
from meshlight.domain.backend import Kind
from meshlight.domain.errors import BackendFailed
from meshlight.simulator.engine import SimulatedEngine
from servers.byte_server import ByteServer, Peer

ANSWER = b'{"choices":[{"message":{"role":"assistant","content":"ok"}}]}'
OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER,
)


class Place(Struct):
    name: str
    url: str
    kind: Kind = "llamacpp"


class Dying:
    """Answers one request on its first connection and drops the next one; if it is `sick`, all later ones."""

    def __init__(self, heard: bytes = b"", *, sick: bool = False) -> None:
        self.heard = heard
        self.sick = sick
        self.got = 0

    async def __call__(self, peer: Peer) -> None:
        await peer.request()
        self.got += 1
        if peer.number > 1 and self.sick:
            return
        await peer.send(OK)
        await peer.request()
        self.got += 1
        if self.heard:
            await peer.send(self.heard)


async def attempts(rig: Rig, **fields: Any) -> tuple[str, str]:
    answer = await rig.send(**fields)
    return answer.who, answer.headers["x-meshlight-attempts"]


async def test_the_second_sending_on_a_new_connection_counts() -> None:
    rig = Rig()
    script = Dying()
    async with ByteServer(script) as server:
        rig.add(Place("a", server.url))
        assert await attempts(rig) == ("a", "1")
        assert await attempts(rig) == ("a", "2")
        assert script.got == 3


async def test_a_backend_that_drops_it_twice_and_the_next_one_make_three() -> None:
    rig = Rig()
    script = Dying(sick=True)
    async with ByteServer(script) as server, SimulatedEngine("llamacpp", "b", ["m"]) as engine:
        rig.add(Place("a", server.url))
        rig.add(engine)
        assert await attempts(rig) == ("a", "1")
        assert await attempts(rig) == ("b", "3")
        assert (script.got, len(engine.calls())) == (3, 1)


async def test_an_error_counts_them_too() -> None:
    rig = Rig()
    async with ByteServer(Dying(sick=True)) as server:
        rig.add(Place("a", server.url))
        await rig.send()
        with pytest.raises(BackendFailed) as caught:
            await rig.send()
        assert caught.value.attempts == 2


async def test_what_was_answered_in_part_is_not_sent_again_there() -> None:
    rig = Rig()
    script = Dying(heard=b"HTTP/1.1 2")
    async with ByteServer(script) as server:
        rig.add(Place("a", server.url))
        await rig.send()
        with pytest.raises(BackendFailed) as caught:
            await rig.send()
        assert (caught.value.attempts, script.got) == (1, 2)


async def test_what_acts_is_sent_on_a_connection_of_its_own_that_can_not_be_closing() -> None:
    rig = Rig()
    async with ByteServer(Dying()) as server:
        rig.add(Place("a", server.url, "openai-compatible"))
        await rig.send()
        answer = await rig.send("audio/speech")
        assert (answer.status, answer.headers["x-meshlight-attempts"]) == (200, "1")
        assert [request.connection for request in server.requests] == [1, 2]


async def test_what_costs_is_not_sent_again() -> None:
    rig = Rig()
    script = Dying()
    async with ByteServer(script) as server:
        rig.add(Place("a", server.url, "openai"), ring="cloud")
        await rig.send()
        with pytest.raises(BackendFailed) as caught:
            await rig.send()
        assert (caught.value.attempts, script.got) == (1, 2)
