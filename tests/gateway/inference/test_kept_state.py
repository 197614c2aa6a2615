"""What lives in one backend alone goes there, or is answered with who has it."""

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from fake_clock import Clock
from faults.raw import RawBackend, chunked, complete, responds
from gateway.rig import RecordedAnswer, Rig
from meshlight.domain.backend import Kind
from meshlight.domain.errors import BadRequest, RouteError
from meshlight.domain.kept_ids import IDS_MAX, SCANNED_MAX
from meshlight.domain.operations import Operation
from meshlight.domain.peers import Peer
from meshlight.domain.rules import Routing
from meshlight.gateway.inference.kept_state import KeptState
from meshlight.gateway.server.disconnect import DisconnectListeners
from meshlight.mesh.conversations import KEPT_MAX

TYPE = b"content-type: application/json"
PLAIN = complete(b'{"id": "msg_1", "type": "message", "content": []}', TYPE)


class Rooms:
    """Two accounts that keep things, and what was sent to each."""

    def __init__(self, east: RawBackend, west: RawBackend) -> None:
        self.rig = Rig(Routing(policy="round-robin"))
        self.accounts = {"east": east, "west": west}

    def add(self, kind: Kind = "anthropic", models: tuple[str, ...] = ("m",)) -> None:
        for account in self.accounts.values():
            account.kind = kind
            self.rig.add(account, *models, ring="cloud")

    async def send(
        self, operation: Operation = "messages", model: str = "m", guest: Peer | None = None, **fields: Any
    ) -> RecordedAnswer:
        body = msgspec.json.encode(
            {"model": model, "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]} | fields
        )
        inbound = self.rig.inbound(operation, model, body).changed(guest=guest)
        answer = RecordedAnswer()
        await self.rig.relay.run(inbound, answer, DisconnectListeners())
        return answer

    def says(self, *pieces: bytes) -> None:
        for account in self.accounts.values():
            account.respond = responds(*pieces)


@pytest.fixture
async def rooms() -> AsyncIterator[Rooms]:
    async with RawBackend("east") as east, RawBackend("west") as west:
        rooms = Rooms(east, west)
        rooms.says(PLAIN)
        yield rooms


CODE = [{"type": "code_execution_20250825", "name": "code_execution"}]


async def test_a_container_is_used_again_where_it_was_made(rooms: Rooms) -> None:
    rooms.add()
    content = b'[{"type":"code_execution_output","file_id":"file_9"}]'
    rooms.says(complete(b'{"content":%b,"container":{"id":"container_1"}}' % content, TYPE))
    owner = (await rooms.send(tools=CODE)).who
    assert {(await rooms.send()).who for _ in range(4)} == {"east", "west"}, (
        "what names nothing goes anywhere"
    )
    answers = [await rooms.send(container="container_1") for _ in range(4)]
    assert {(answer.who, answer.headers["x-meshlight-why"]) for answer in answers} == {
        (owner, "the container is there")
    }
    upload = [{"role": "user", "content": [{"type": "container_upload", "file_id": "file_9"}]}]
    assert {(await rooms.send(messages=upload)).who for _ in range(4)} == {owner}


async def test_a_name_is_found_in_a_stream_wherever_it_is_cut(rooms: Rooms) -> None:
    rooms.add()
    events = b'event: message_delta\ndata: {"delta":{"container":{"id":"container_1","expires_at":"x"}}}\n\n'
    cut = [events[at : at + 3] for at in range(0, len(events), 3)]
    rooms.says(*chunked(b": \n\n" * 500, *cut))
    owner = (await rooms.send(tools=CODE, stream=True)).who
    assert {(await rooms.send(container={"id": "container_1"})).who for _ in range(4)} == {owner}


async def test_a_file_that_was_uploaded_past_us_stays_where_it_was_accepted(rooms: Rooms) -> None:
    rooms.add("openai")
    rooms.says(complete(b'{"id":"resp_1","output":[]}', TYPE))
    named = [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]
    owner = (await rooms.send("responses", input=named)).who
    assert {(await rooms.send("responses", input=named)).who for _ in range(4)} == {owner}
    asked = [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]
    assert {(await rooms.send("chat/completions", messages=asked)).who for _ in range(4)} == {owner}


async def test_who_has_it_is_said_where_it_can_not_be_used(rooms: Rooms) -> None:
    rooms.add(models=("m", "n"))
    owner = (await rooms.send(container="container_1")).who
    other = "west" if owner == "east" else "east"
    await rooms.send(model="n")
    rooms.rig.registry.put(replace(rooms.rig.registry.node(owner).backend, enabled=False))
    for _ in range(2):
        await rooms.send()  # with one place left, it is used at once
        with pytest.raises(
            BadRequest, match=f"The container .* is kept by {owner}, .* for 'm' now"
        ) as caught:
            await rooms.send(container="container_1")
        assert (caught.value.param, "new container" in caught.value.hint) == ("container", True)
    assert rooms.accounts[other].posts[-1].body.count(b"container_1") == 0
    rooms.rig.registry.remove(owner)
    assert (await rooms.send(container="container_1")).who == other, "it is forgotten with its backend"


async def test_what_two_backends_keep_is_said_of_both(rooms: Rooms) -> None:
    rooms.add()
    owners = {(await rooms.send(container=f"container_{number}")).who for number in (1, 2)}
    assert owners == {"east", "west"}, "they take turns"
    content = [{"role": "user", "content": [{"type": "x", "container_id": "container_2"}]}]
    with pytest.raises(BadRequest, match="no backend has both"):
        await rooms.send(messages=content, container="container_1")


async def test_a_peer_reads_no_name(rooms: Rooms) -> None:
    rooms.add()
    owner = (await rooms.send(container="container_1")).who
    rooms.rig.registry.put(replace(rooms.rig.registry.node(owner).backend, enabled=False))
    guest = Peer(id="c" * 64, name="Cleo", url="", share_rings=("cloud",))
    with pytest.raises((BadRequest, RouteError)) as caught:
        await rooms.send(container="container_1", guest=guest)
    assert owner not in caught.value.title + caught.value.hint


async def test_an_engine_that_ignores_a_name_is_not_bound_to_it(rooms: Rooms) -> None:
    rooms.add("vllm")
    rooms.says(complete(b'{"ok": true}', TYPE))
    for _ in range(4):
        await rooms.send("chat/completions", container="container_1")
    assert all(account.posts for account in rooms.accounts.values())


def test_what_a_peer_names_moves_and_drives_out_nothing_of_ours() -> None:
    kept, rig, sink = KeptState(Clock()), Rig(), RecordedAnswer()
    own, theirs = (
        rig.inbound("messages", "m", b'{"container":"container_%d"}' % number) for number in (1, 2)
    )
    guest = Peer(id="c" * 64, name="Cleo", url="", share_rings=("cloud",))
    kept.watch(own, sink, b"{}", "east", "")
    kept.watch(own.changed(guest=guest), sink, b"{}", "west", "")
    kept.watch(theirs.changed(guest=guest), sink, b"{}", "west", "")
    assert [one.owner for one in kept.owners(theirs.changed(guest=guest))] == [("west", "")]
    assert kept.owners(theirs) == (), "a peer has said so, and nobody here"
    for first in range(0, KEPT_MAX, IDS_MAX):
        ids = b",".join(b'"file-%d"' % number for number in range(first, first + IDS_MAX))
        flood = rig.inbound("messages", "m", b'{"file_ids":[%b]}' % ids)
        kept.watch(flood.changed(guest=guest), sink, b"{}", "west", "")
    for asks in (own, own.changed(guest=guest)):
        assert [one.owner for one in kept.owners(asks)] == [("east", "")]


def test_what_is_kept_is_not_taken_over_and_bounded() -> None:
    kept, rig = KeptState(Clock()), Rig()
    sink = RecordedAnswer()
    inbound = rig.inbound("messages", "m", b'{"container":"container_1"}')
    assert kept.owners(inbound) == ()
    assert kept.watch(inbound, sink, b"{}", "east", "") is not sink, "its answer may name files"
    kept.watch(inbound, sink, b"{}", "west", "")
    assert [one.owner for one in kept.owners(inbound)] == [("east", "")]
    for other in (inbound.changed(content_type=b"x"), inbound.changed(operation="embeddings")):
        assert (kept.owners(other), kept.watch(other, sink, b"", "west", "")) == ((), sink)
    between = b" " * (2 * SCANNED_MAX) + b'"container":"container_1"' + b" " * (2 * SCANNED_MAX)
    assert kept.owners(inbound.changed(body=between)) == (), "the middle of a huge body is not searched"
    kept.forget("east")
    assert kept.owners(inbound) == ()
