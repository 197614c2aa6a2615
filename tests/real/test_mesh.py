"""A mesh of several real llama-servers, each of which answers with its own name."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import httpx
import openai
import pytest

from meshlight.domain.backend import Kind
from node import Node
from real import client_contract as promises
from real.engines import Engine, free_port, llama_server
from real.llama_modes import mesh_llama, router_llama, slow_llama
from real.subject import Subject
from real.tiny_gguf import answer_of, write_gguf

pytestmark = pytest.mark.real

SHARED = "shared"


@dataclass
class Listed:
    """A backend of a node; its model calls itself by the backend's name, under whatever id it is served."""

    name: str
    engine: Engine
    kind: Kind = "llamacpp"

    @property
    def url(self) -> str:
        return self.engine.url


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models: east, west, north, south."""
    llama_server()  # skips before anything is made
    folder = tmp_path_factory.mktemp("mesh")
    for name in ("east", "west", "north", "south"):
        write_gguf(folder / f"{name}.gguf", name)
    return folder


@pytest.fixture(scope="module")
def four(models: Path) -> Iterator[list[Listed]]:
    """East, west and north serve the same model id; south serves one that nobody else has."""
    with ExitStack() as stack:
        yield [
            Listed(name, stack.enter_context(mesh_llama(models / f"{name}.gguf", model)))
            for name, model in (("east", SHARED), ("west", SHARED), ("north", SHARED), ("south", "own"))
        ]


def subject(node: Node, model: str) -> Subject:
    return Subject(f"{node.url}/v1", model, node.key)


async def who_answers(client: openai.AsyncOpenAI, model: str) -> tuple[str | None, str]:
    """Ask the model for its name; return the answer, and the backend in the header."""
    raw = await client.chat.completions.with_raw_response.create(model=model, messages=promises.HELLO)
    return raw.parse().choices[0].message.content, raw.headers["x-meshlight-backend"]


async def test_the_engine_that_the_header_names_is_the_one_that_answered(
    tmp_path: Path, four: list[Listed]
) -> None:
    async with Node(tmp_path, four) as node, subject(node, SHARED).client() as client:
        assert await who_answers(client, "own") == (answer_of("south"), "south")
        for _ in range(6):
            said, backend = await who_answers(client, SHARED)
            assert backend in {"east", "west", "north"}
            assert said == answer_of(backend)


async def test_a_model_of_three_engines_is_one_model_and_each_can_be_asked_by_its_name(
    tmp_path: Path, four: list[Listed]
) -> None:
    async with Node(tmp_path, four) as node, subject(node, SHARED).client() as client:
        listed = {card["id"]: card for card in (await node.http.get("/v1/models")).json()["data"]}
        assert listed.keys() == {SHARED, "own"}
        assert listed[SHARED]["meshlight"]["backends"] == ["east", "west", "north"]
        for name in ("east", "west", "north"):
            assert await who_answers(client, f"{name}/{SHARED}") == (answer_of(name), name)
        with pytest.raises(openai.NotFoundError):
            await who_answers(client, f"south/{SHARED}")


async def test_a_burst_of_endless_streams_is_spread_evenly(tmp_path: Path, four: list[Listed]) -> None:
    async with (
        Node(tmp_path, four) as node,
        subject(node, SHARED).client() as client,
        AsyncExitStack() as streams,
    ):
        burst = [
            client.chat.completions.create(model=SHARED, messages=promises.FOR_EVER, stream=True)
            for _ in range(9)
        ]
        for stream in await asyncio.gather(*burst):
            streams.push_async_callback(stream.close)
            await anext(aiter(stream))
        async with httpx.AsyncClient(trust_env=False, timeout=30.0) as direct:
            busy = {place.name: await busy_slots(place.engine, direct) for place in four}
        assert busy.pop("south") == 0
        assert sum(busy.values()) == 9
        assert all(2 <= count <= 4 for count in busy.values()), "each has four slots"
        busy["south"] = 0
        shown = {place.name: (await node.backend(place.name))["in_flight"] for place in four}
        assert shown == busy


async def test_no_client_of_thirty_sees_an_engine_die(
    tmp_path: Path, models: Path, four: list[Listed]
) -> None:
    with mesh_llama(models / "west.gguf", SHARED) as doomed:
        mesh = [four[0], Listed("doomed", doomed), four[2]]
        async with Node(tmp_path, mesh) as node, subject(node, SHARED).client() as client:
            answered: list[tuple[str, str]] = []
            sessions = count()

            async def ask(tokens: int) -> None:
                raw = await client.chat.completions.with_raw_response.create(
                    model=SHARED,
                    messages=promises.FOR_EVER,
                    max_tokens=tokens,
                    extra_headers={
                        "x-session-id": str(next(sessions))
                    },  # or all stay where the first one was
                )
                usage = raw.parse().usage
                assert usage is not None
                assert usage.completion_tokens == tokens
                answered.append((raw.headers["x-meshlight-backend"], raw.headers["x-meshlight-attempts"]))

            await asyncio.gather(*map(ask, [10] * 6))
            assert "doomed" in {backend for backend, _ in answered}
            # As many as all three have slots: fewer may all go to the two that have been the fastest.
            under_way = [asyncio.create_task(ask(300)) for _ in range(12)]
            async with asyncio.timeout(10), httpx.AsyncClient(trust_env=False, timeout=30.0) as direct:
                while not await busy_slots(doomed, direct):  # each look is an awaited round trip to it
                    pass
            doomed.kill()
            results = await asyncio.gather(*under_way, *map(ask, [10] * 4), return_exceptions=True)
            for _ in range(4):
                results += await asyncio.gather(ask(10), ask(10), return_exceptions=True)

            assert [result for result in results if result is not None] == []
            assert len(answered) == 30
            assert any(attempts != "1" for _, attempts in answered), (
                "nobody had to be moved to another engine"
            )
            after = await node.backend("doomed")
            assert (after["health"]["state"], after["health"]["reason"]) == ("unhealthy", "refused")
            router = (await node.http.get("/mesh/snapshot")).json()["router"]
            assert (router["requests"]["successful"], router["requests"]["failed"]) == (30, 0)


async def test_a_stream_whose_engine_dies_ends_in_an_error_and_not_as_if_it_were_whole(
    tmp_path: Path, models: Path, four: list[Listed]
) -> None:
    with mesh_llama(models / "west.gguf", SHARED) as doomed:
        async with (
            Node(tmp_path, [Listed("doomed", doomed), four[0]]) as node,
            subject(node, f"doomed/{SHARED}").client() as client,
        ):
            stream = await client.chat.completions.create(
                model=f"doomed/{SHARED}", messages=promises.FOR_EVER, stream=True
            )
            words = aiter(stream)
            pieces = [await anext(words) for _ in range(20)]
            doomed.kill()
            with pytest.raises(openai.APIError, match="broke off") as broken:
                pieces += [piece async for piece in words]
            said = {piece.choices[0].delta.content for piece in pieces}
            assert said <= {None, "", " tick", " tock"}, "another engine's words are mixed in"
            assert broken.value.code == "backend_broke"


async def test_an_engine_with_a_key_is_added_with_it_and_a_wrong_one_is_told_with_a_fix(
    tmp_path: Path, models: Path
) -> None:
    with mesh_llama(models / "east.gguf", SHARED, key="right-key-of-east") as engine:
        wish = {"kind": "llamacpp", "name": "Keyed", "url": engine.url}
        async with Node(tmp_path) as node, subject(node, SHARED).client() as client:
            without = await node.http.post("/mesh/backends", json=wish)
            wrong = await node.http.post("/mesh/backends", json={**wish, "api_key": "wrong-key"})
            right = await node.http.post("/mesh/backends", json={**wish, "api_key": "right-key-of-east"})
            assert (without.status_code, wrong.status_code, right.status_code) == (422, 422, 201)
            assert f"127.0.0.1:{engine.port} wants an API key (401)" in without.json()["error"]["message"]
            assert f"127.0.0.1:{engine.port} refuses the API key (401)" in wrong.json()["error"]["message"]
            assert without.json()["error"]["hint"]
            assert wrong.json()["error"]["hint"]
            await node.until("keyed", "healthy")
            assert await who_answers(client, SHARED) == (answer_of("east"), "keyed")
            seen = (await node.http.get("/mesh/snapshot")).text + right.text
            assert "right-key-of-east" not in seen + node.config_file.read_text("utf-8")


async def test_a_key_that_the_engine_no_longer_takes_is_our_trouble_and_not_the_clients(
    tmp_path: Path, models: Path
) -> None:
    port = free_port()
    with mesh_llama(models / "east.gguf", SHARED, key="old-key", port=port) as engine:
        wish = {"kind": "llamacpp", "name": "Keyed", "url": engine.url, "api_key": "old-key"}
        async with Node(tmp_path) as node, subject(node, SHARED).client() as client:
            assert (await node.http.post("/mesh/backends", json=wish)).status_code == 201
            await node.until("keyed", "healthy")
            engine.kill()
            with mesh_llama(models / "east.gguf", SHARED, key="new-key", port=port):
                with pytest.raises(openai.InternalServerError, match="refuses the API key") as down:
                    await who_answers(client, SHARED)
                assert down.value.status_code == 503
                keyed = await node.until("keyed", "unhealthy")
                assert keyed["health"]["reason"] == "unauthorized"
                assert keyed["health"]["fix"]
                mended = await node.http.patch("/mesh/backends/keyed", json={"api_key": "new-key"})
                assert mended.status_code == 200, mended.text
                await node.until("keyed", "healthy")
                assert await who_answers(client, SHARED) == (answer_of("east"), "keyed")


@pytest.mark.skipif(sys.platform == "win32", reason="the engine is held up by a named pipe")
async def test_an_engine_that_loads_is_warming_and_then_answers(tmp_path: Path, models: Path) -> None:
    port = free_port()
    with mesh_llama(models / "west.gguf", SHARED, port=port) as before:
        async with Node(tmp_path, [Listed("west", before)]) as node, subject(node, SHARED).client() as client:
            assert await who_answers(client, SHARED) == (answer_of("west"), "west")
            before.kill()
            with slow_llama(models / "west.gguf", SHARED, port=port) as again:
                await node.refresh()
                warming = await node.backend("west")
                assert (warming["health"]["state"], warming["health"]["reason"]) == ("warming", "loading")
                assert f"127.0.0.1:{port} is loading a model" in warming["health"]["text"]
                with pytest.raises(openai.InternalServerError, match="Loading model") as refused:
                    await who_answers(client, SHARED)
                assert refused.value.status_code == 503
                await asyncio.to_thread(again.let_it_load)
                await node.until("west", "healthy", within_s=5)
                assert await who_answers(client, SHARED) == (answer_of("west"), "west")


@pytest.mark.skipif(sys.platform == "win32", reason="the engine is held up by a named pipe")
async def test_requests_go_past_an_engine_that_loads(
    tmp_path: Path, models: Path, four: list[Listed]
) -> None:
    with slow_llama(models / "west.gguf", SHARED) as slow:
        mesh = [Listed("slow", slow.engine), four[0]]
        async with Node(tmp_path, mesh) as node, subject(node, SHARED).client() as client:
            assert (await node.backend("slow"))["health"]["state"] == "warming"
            answers = [await who_answers(client, SHARED) for _ in range(5)]
            assert answers == [(answer_of("east"), "east")] * 5
            await asyncio.to_thread(slow.let_it_load)
            await node.until("slow", "healthy", within_s=5)
            assert await who_answers(client, f"slow/{SHARED}") == (answer_of("west"), "slow")


async def test_a_router_of_many_models_shows_their_names_and_nothing_of_their_files(
    tmp_path: Path, models: Path
) -> None:
    with router_llama(models) as router:
        async with httpx.AsyncClient(trust_env=False, timeout=30.0) as direct:
            answered = (await direct.get(f"{router.url}/v1/models")).text
        assert "east.gguf" in answered, "the engine itself shows its files: that is what this test is about"
        async with (
            Node(tmp_path, [Listed("router", router)]) as node,
            subject(node, "east").client() as client,
        ):
            ids = {model.id async for model in client.models.list()}
            assert {"east", "west", "north", "south"} <= ids
            for name in ("east", "south"):
                assert await who_answers(client, name) == (answer_of(name), "router")
            shown = [
                (await node.http.get(path)).text
                for path in ("/v1/models", "/mesh/snapshot", "/mesh/backends/router", "/metrics")
            ]
            text = json.dumps(shown)
            assert ".gguf" not in text
            assert str(models) not in text
            assert "--models-dir" not in text


async def busy_slots(engine: Engine, direct: httpx.AsyncClient) -> int:
    """Ask llama-server itself how many requests it works on."""
    slots = (await direct.get(f"{engine.url}/slots")).json()
    return sum(1 for slot in slots if slot["is_processing"])
