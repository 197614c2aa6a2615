"""What somebody writes into the configuration file holds within two seconds, and a slip of the pen breaks nothing."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.stream import opened
from meshlight.domain.config import Config
from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.protocols.text import StepGate
from node import Node


@pytest.fixture
async def gate() -> StepGate:
    return StepGate()


@pytest.fixture
async def engine(gate: StepGate) -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine("llamacpp", "study", speed=1, pace=gate, length=3) as engine:
        yield engine


def entry(engine: SimulatedEngine, extra: str = "") -> str:
    return f'[[backends]]\nid = "{engine.name}"\nkind = "{engine.kind}"\nurl = "{engine.url}"\n{extra}\n'


async def settings(node: Node) -> dict[str, Any]:
    answer = await node.http.get("/mesh/settings")
    found: dict[str, Any] = answer.json()
    return found


async def test_a_change_by_hand_holds_at_once_and_drops_no_running_stream(
    tmp_path: Path, engine: SimulatedEngine, gate: StepGate
) -> None:
    async with (
        SimulatedEngine("vllm", "box", models=["qwen"]) as box,
        Node(tmp_path, [engine]) as node,
        opened(node) as events,
    ):
        await events.next()
        running = asyncio.create_task(node.chat(stream=True))
        await engine.received(1, "/v1/chat")
        node.config_file.write_text(
            'routing.aliases = { best = "qwen" }\nrouting.rules = [{ model = "llama-*", bound = "machine" }]\n'
            + entry(engine, "priority = 9")
            + entry(box)
        )
        await events.until(lambda e: e.name == "health" and e.data["backends"][0]["id"] == "box")
        assert [m["id"] for m in (await node.http.get("/v1/models")).json()["data"]] == [
            "llama-3.2-3b",
            "qwen",
            "best",
        ]
        assert (await node.chat("best")).headers["x-meshlight-backend"] == "box"
        assert (await settings(node))["routing"]["rules"][0]["bound"] == "machine"
        gate.open()
        answer = await running
        assert answer.status_code == 200
        assert answer.text.rstrip().endswith("data: [DONE]")

        node.config_file.write_text(entry(box))
        gone = await events.until(lambda e: e.data.get("removed") == ["study"])
        assert gone
        assert (await node.chat()).status_code == 404


async def test_a_broken_file_keeps_the_last_good_one_and_names_the_line_until_it_is_mended(
    tmp_path: Path, engine: SimulatedEngine
) -> None:
    async with Node(tmp_path, [engine]) as node, opened(node) as events:
        await events.next()
        good = node.config_file.read_text()
        node.config_file.write_text(good + "prot = 7\n")
        line = good.count("\n") + 1
        told = await events.until(lambda e: e.name == "snapshot")
        [notice] = told[-1].data["notices"]
        assert f"line {line}" in notice
        assert "prot" in notice
        assert (await settings(node))["notices"] == [notice]
        assert (await node.http.get("/mesh/snapshot")).json()["notices"] == [notice]
        assert (await node.backend("study"))["health"]["state"] == "healthy"

        node.config_file.write_text(good)
        told = await events.until(lambda e: e.name == "snapshot")
        assert told[-1].data["notices"] == []
        assert (await settings(node))["notices"] == []


async def test_what_the_service_writes_itself_is_followed_once(
    tmp_path: Path, engine: SimulatedEngine
) -> None:
    async with Node(tmp_path, [engine]) as node, opened(node) as events:
        await events.next()
        store = node.service._settings
        follow, followed = store._on_change, list[Config]()

        def counted(config: Config) -> None:
            followed.append(config)
            follow(config)

        store._on_change = counted
        await node.http.patch("/mesh/settings", json={"routing": {"policy": "fastest"}})
        await node.http.patch("/mesh/backends/study", json={"priority": 3})
        assert len(followed) == 2
        node.config_file.write_text('name = "by hand"\n' + node.config_file.read_text())
        await events.until(lambda e: e.name == "snapshot")
        assert [(c.name, c.backends[0].priority) for c in followed] == [("", 0), ("", 3), ("by hand", 3)]


async def test_edits_at_the_same_time_are_all_kept(tmp_path: Path, engine: SimulatedEngine) -> None:
    async with Node(tmp_path, [engine]) as node:
        aliases = {f"a{n}": "llama-3.2-3b" for n in range(5)}
        changes = [
            node.http.patch("/mesh/settings", json={"routing": {"aliases": aliases}}),
            node.http.patch("/mesh/settings", json={"name": "Lab"}),
            node.http.patch("/mesh/settings", json={"discovery": {"enabled": False}}),
            node.http.patch("/mesh/backends/study", json={"priority": 3}),
            *(
                node.http.post(
                    "/mesh/backends",
                    json={"kind": "vllm", "url": f"http://127.0.0.1:{7001 + n}", "save_anyway": True},
                )
                for n in range(5)
            ),
        ]
        assert {answer.is_success for answer in await asyncio.gather(*changes)} == {True}
        now = await settings(node)
        assert (now["name"], now["routing"]["aliases"], now["discovery"]["enabled"]) == (
            "Lab",
            aliases,
            False,
        )
        assert len((await node.http.get("/mesh/backends")).json()["backends"]) == 6
        assert node.service._settings.config == node.service._settings._file.load()


async def test_a_deleted_file_keeps_all_and_a_change_writes_it_anew(
    tmp_path: Path, engine: SimulatedEngine
) -> None:
    async with Node(tmp_path, [engine], "# mine") as node, opened(node) as events:
        await events.next()
        node.config_file.unlink()
        told = await events.until(lambda e: e.name == "snapshot")
        [notice] = told[-1].data["notices"]
        assert "is gone" in notice
        assert [b["id"] for b in told[-1].data["backends"]] == ["study"]
        changed = await node.http.patch("/mesh/settings", json={"name": "Lab"})
        assert changed.json()["notices"] == []
        text = node.config_file.read_text()
        assert "# mine" in text
        assert '"study"' in text


async def test_an_entry_of_a_few_words_lies_where_its_kind_does(tmp_path: Path) -> None:
    far = {"gemini": "cloud", "cluster": "company", "continuum": "company", "vllm": "cloud"}
    text = "".join(f'[[backends]]\nkind = "{kind}"\nurl = "https://{kind}.invalid"\n' for kind in far)
    async with Node(tmp_path, extra=text) as node:
        shown = (await node.http.get("/mesh/snapshot")).json()
        assert {b["kind"]: b["ring"] for b in shown["backends"]} == far
        assert shown["notices"] == []


async def test_a_key_file_that_others_could_read_is_told(tmp_path: Path) -> None:
    key = tmp_path / "local.key"
    key.write_text("ml-0123456789abcdef0123456789abcdef\n")
    key.chmod(0o644)
    async with Node(tmp_path) as node:
        [notice] = (await node.http.get("/mesh/snapshot")).json()["notices"]
        assert "could read the key file" in notice
        assert node.key not in notice


async def test_hosts_and_origins_are_allowed_and_refused_again_while_it_runs(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        before = node.config_file.read_text()
        host, origin = {"host": "mesh.example"}, {"origin": "http://localhost:3000"}

        async def ask() -> list[tuple[int, str | None]]:
            replies = [await node.http.get("/v1/models", headers=named) for named in (host, origin)]
            return [(r.status_code, r.headers.get("access-control-allow-origin")) for r in replies]

        assert await ask() == [(403, None), (403, None)]
        allowed = 'allowed_hosts = ["mesh.example"]\nallowed_origins = ["http://localhost:3000"]\n'
        for text, wanted in (
            (allowed + before, [(200, None), (200, "http://localhost:3000")]),
            (before, [(403, None), (403, None)]),
        ):
            node.config_file.write_text(text)
            async with asyncio.timeout(10):
                while await ask() != wanted:
                    pass
