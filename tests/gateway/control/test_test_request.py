"""First success without code: who answered, and how fast; or why nobody did."""

from pathlib import Path

from gateway.bad_requests import error_of
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
        assert "Start a local engine" in error["hint"]
