"""First success without code: who answered, and how fast; or why nobody did."""

from pathlib import Path

import pytest

from fake_clock import backend
from gateway.bad_requests import error_of
from meshlight.domain.backend import ModelDetail
from meshlight.domain.health import Health, State
from meshlight.domain.snapshot import Node as BackendNode
from meshlight.domain.snapshot import Snapshot, index
from meshlight.gateway.control.test_request import chat_model
from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node


async def test_a_trial_shows_who_answered_and_how_fast(node: Node) -> None:
    reply = (await node.http.post("/mesh/test", json={"count": 2})).json()
    assert reply["model"] == "llama-3.2-3b"
    assert [(run["backend"], run["ok"]) for run in reply["runs"]] == [("study", True)] * 2
    run = reply["runs"][0]
    assert 0 < run["first_token_ms"] <= run["total_ms"]
    assert run["tokens"] > 1
    assert "demo" in run["text"]
    assert run["error"] is None


async def test_a_trial_needs_no_body(node: Node) -> None:
    reply = await node.http.post("/mesh/test")
    assert reply.status_code == 200
    assert len(reply.json()["runs"]) == 1


async def test_a_trial_prefers_a_model_that_can_chat_and_is_healthy(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("vllm", "a", models=["bge-m3", "down-7b"]) as a,
        SimulatedEngine("llamacpp", "b", models=["nomic-embed", "up-7b"]) as b,
        Node(tmp_path, [a, b], IN_ORDER) as node,
    ):
        await a.fault("refuse")
        await node.refresh()
        await node.refresh()
        assert (await node.http.post("/mesh/test")).json()["model"] == "up-7b"


async def test_a_trial_that_fails_says_why(node: Node, engine: SimulatedEngine) -> None:
    await engine.fault("status", status=500, scope="inference")
    [run] = (await node.http.post("/mesh/test")).json()["runs"]
    assert run["ok"] is False
    assert run["error"]
    assert run["text"] == ""
    [run] = (await node.http.post("/mesh/test", json={"model": "nobody"})).json()["runs"]
    assert "nobody" in run["error"]


async def test_a_trial_without_any_model_says_what_to_do(tmp_path: Path) -> None:
    async with Node(tmp_path) as node:
        error = await error_of(node, "POST", "/mesh/test", 404)
        assert error["hint"].startswith("`meshlight setup` gets a first one")


def mesh(state: State = "healthy", **details: ModelDetail) -> Snapshot:
    node = BackendNode(
        backend=backend("here"), health=Health(state=state), models=tuple(details), details=details
    )
    return Snapshot(nodes={"here": node}, routes=index({"here": node}))


EMBEDS, CHATS = ModelDetail(capabilities=("embeddings",)), ModelDetail(capabilities=("chat", "embeddings"))
ON_DISK, LOADED = ModelDetail(loaded=False), ModelDetail(loaded=True)


@pytest.mark.parametrize(
    ("snapshot", "chosen"),
    [
        (mesh(minilm=EMBEDS, bge=CHATS), "bge"),
        (mesh(small=ON_DISK, large=LOADED), "large"),
        (mesh(small=ON_DISK), "small"),
        (mesh(small=ON_DISK, untold=ModelDetail()), "untold"),
        (mesh("unhealthy", small=ON_DISK, large=LOADED), "small"),
        (mesh(minilm=EMBEDS), "minilm"),
    ],
)
def test_the_model_to_try_can_chat_and_need_not_be_loaded_first(snapshot: Snapshot, chosen: str) -> None:
    assert chat_model(snapshot) == chosen
