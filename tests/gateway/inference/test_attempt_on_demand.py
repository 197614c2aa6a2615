"""A request for one of this machine's own models: what reaches the owner of its engine, and what is told of it."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from faults.raw import RawBackend, chunked, complete, responds
from local_models.stub_manager import StubManager
from meshlight.domain.backend import Reason
from meshlight.domain.local_models import LOCAL_ID, Demand
from meshlight.gateway.inference.lane import Lane
from node import Node
from servers.byte_server import Request, chunk

JSON = b"content-type: application/json"
ANSWER = (
    b'{"object":"chat.completion","model":"/home/me/m","choices":[{"index":0,"message":{"content":"yes"}}]}'
)
FULL = Reason("no-room", "m needs 9 GB and 3 GB are free.", "Unload another model.")
NOBODY = "http://127.0.0.1:1"
"""Where nobody listens."""
ENDED = Reason("engine-ended", "The engine of m was ended by the system, likely for memory.")


@asynccontextmanager
async def machine(
    tmp_path: Path, manager: StubManager, engines: Sequence[Any] = (), extra: str = ""
) -> AsyncIterator[Node]:
    """A node whose own models are the manager's."""
    async with Node(tmp_path, engines, extra) as node:
        node.service._local._manager = manager
        node.service._list_own(True)
        await node.refresh()
        yield node


async def test_the_engine_gets_its_own_key_and_the_client_its_own_name_for_the_model(tmp_path: Path) -> None:
    async with RawBackend("e", respond=responds(complete(ANSWER, JSON))) as engine:
        manager = StubManager(engine.url, served_as="/home/me/m")
        async with machine(tmp_path, manager) as node:
            answer = await node.chat("m")
            assert answer.json()["model"] == "m", "never a path"
            [request] = engine.posts
            assert b"authorization: Bearer engine-key" in request.raw_head
            assert b'"/home/me/m"' in request.body
            assert manager.demands == [Demand()]
            assert manager.ended == ["m"]
            listed = await node.http.get("/v1/models")
            assert [model["id"] for model in listed.json()["data"]] == ["m"], (
                "a further name can be asked for and is in no list"
            )


async def test_what_an_ollama_client_wants_kept_reaches_the_engines(tmp_path: Path) -> None:
    async with RawBackend("e", respond=responds(complete(ANSWER, JSON))) as engine:
        manager = StubManager(engine.url)
        async with machine(tmp_path, manager) as node:
            body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False}
            assert (await node.http.post("/api/chat", json=body)).status_code == 200
            assert manager.demands == [Demand()]


async def test_a_model_that_can_t_be_loaded_is_asked_for_elsewhere_first(tmp_path: Path) -> None:
    answer = complete(ANSWER, JSON)
    manager = StubManager()
    manager.refusal = FULL
    async with (
        RawBackend("other", respond=responds(answer)) as other,
        machine(tmp_path, manager, [other]) as node,
    ):
        assert (await node.chat("m")).status_code == 200
        assert len(other.posts) == 1
        state = (await node.backend(LOCAL_ID))["health"]["state"]
        assert state == "healthy", "that says nothing about the machine"


async def test_without_another_route_the_client_reads_the_reason(tmp_path: Path) -> None:
    manager = StubManager()
    manager.refusal = FULL
    async with machine(tmp_path, manager) as node:
        answer = await node.chat("m")
        assert answer.status_code == 503
        assert FULL.text in answer.text
        assert FULL.fix in answer.text


async def test_an_engine_that_dies_before_it_answers_is_explained(tmp_path: Path) -> None:
    async def hang_up(writer: asyncio.StreamWriter, request: Request) -> None:
        del request
        writer.close()

    async with RawBackend("e", respond=hang_up) as engine:
        manager = StubManager(engine.url)
        manager.lost = ENDED
        async with machine(tmp_path, manager) as node:
            answer = await node.chat("m")
            assert ENDED.text in answer.text
            manager.lost = None
            assert "closed" in (await node.chat("m")).text


async def test_an_engine_that_died_before_it_was_reached_is_started_again_for_the_request(
    tmp_path: Path,
) -> None:
    async with RawBackend("e", respond=responds(complete(ANSWER, JSON))) as engine:
        manager = StubManager(NOBODY)
        manager.lost, manager.urls_again = ENDED, [engine.url]
        async with machine(tmp_path, manager) as node:
            assert (await node.chat("m")).status_code == 200
            assert len(engine.posts) == 1


async def test_an_engine_that_can_t_be_reached_twice_is_explained(tmp_path: Path) -> None:
    manager = StubManager(NOBODY)
    manager.lost, manager.urls_again = ENDED, [NOBODY]
    async with machine(tmp_path, manager) as node:
        answer = await node.chat("m")
        assert answer.status_code == 503
        assert ENDED.text in answer.text
        assert len(manager.demands) == 2
        manager.lost = None
        assert (await node.chat("m")).status_code == 503
        assert len(manager.demands) == 3, "one that has not ended is not started again"


async def test_a_stream_whose_engine_dies_ends_by_an_error_with_the_reason(tmp_path: Path) -> None:
    async def die(writer: asyncio.StreamWriter, request: Request) -> None:
        del request
        piece = b'data: {"choices":[]}\n\n'
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        writer.write(head + b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
        writer.close()

    async with RawBackend("e", respond=die) as engine:
        manager = StubManager(engine.url)
        manager.lost = ENDED
        async with machine(tmp_path, manager) as node:
            for _ in range(4):
                answer = await node.chat("m", stream=True)
                assert '"error"' in answer.text
                assert ENDED.text in answer.text
            state = (await node.backend(LOCAL_ID))["health"]["state"]
            assert state == "healthy", "one model's engine says nothing about those of the others"


async def test_it_can_be_neither_changed_nor_removed_nor_added(tmp_path: Path) -> None:
    async with machine(tmp_path, StubManager()) as node:
        refused = [
            await node.http.delete(f"/mesh/backends/{LOCAL_ID}"),
            await node.http.patch(f"/mesh/backends/{LOCAL_ID}", json={"enabled": False}),
        ]
        assert [answer.status_code for answer in refused] == [409, 409]
        assert "[local]" in refused[0].text
        added = await node.http.post("/mesh/backends", json={"kind": "local", "url": "http://127.0.0.1:1"})
        assert added.status_code == 400
        assert "not added" in added.text
        node.service._backend_admin.follow(node.service._settings.config)
        shown = await node.backend(LOCAL_ID)
        assert (shown["name"], shown["source"], shown["ring"]) == ("This machine", "own", "machine")
        node.service._list_own(False)
        assert (await node.http.get(f"/mesh/backends/{LOCAL_ID}")).status_code == 404


@pytest.mark.lane
async def test_a_model_whose_engine_runs_is_asked_without_a_task(tmp_path: Path) -> None:
    async with RawBackend("e", respond=responds(complete(ANSWER, JSON))) as engine:
        manager = StubManager(engine.url, served_as="/home/me/m")
        async with machine(tmp_path, manager) as node:
            await node.chat("m")
            manager.run()
            for _ in range(2):
                answer = await node.chat("m")
                assert answer.json()["model"] == "m"
            manager.running = None  # it was unloaded
            assert (await node.chat("m")).status_code == 200
            lane = node.service._app.lane
            assert isinstance(lane, Lane)
            assert (lane.begun, lane.handed_over) == (2, 0)
            assert len({request.raw for request in engine.posts}) == 1
            assert manager.ended == ["m"] * 4


@pytest.mark.lane
async def test_why_its_engine_ended_is_told_for_the_lane_too(tmp_path: Path) -> None:
    event = b'data: {"model":"m","choices":[{"index":0,"delta":{"content":"a word of the answer"}}]}\n\n'
    answers = [[complete(ANSWER, JSON)], [chunked(event)[0] + chunk(event)], []]

    async def respond(writer: asyncio.StreamWriter, _: Request) -> None:
        for piece in (now := answers.pop(0)):
            writer.write(piece)
            await writer.drain()
        if not now or len(answers) == 1:
            writer.close()

    async with RawBackend("e", respond=respond) as engine:
        manager = StubManager(engine.url)
        manager.run()
        async with machine(tmp_path, manager) as node:
            await node.chat("m")
            manager.lost = ENDED
            manager.urls_again = [engine.url, engine.url]
            said = await node.http.post(
                "/v1/chat/completions", json={"model": "m", "messages": [], "stream": True}
            )
            assert ENDED.text in said.text
            lane = node.service._app.lane
            assert isinstance(lane, Lane)
            assert (lane.begun, lane.handed_over) == (1, 1)
