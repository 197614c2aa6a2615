"""Who would answer for a model now, in which order, and why not the others."""

from pathlib import Path

from gateway.bad_requests import error_of
from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node


async def test_the_route_is_explained(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "near") as near,
        SimulatedEngine("vllm", "broken") as broken,
        SimulatedEngine("ollama", "off") as off,
        Node(tmp_path, [near, broken, off], IN_ORDER) as node,
    ):
        await broken.fault("refuse")
        await node.refresh()
        await node.refresh()
        await node.http.post("/mesh/backends/off/disable")
        reply = (await node.http.get("/mesh/route?model=llama-3.2-3b")).json()
        assert (reply["asked"], reply["model"], reply["policy"]) == (
            "llama-3.2-3b",
            "llama-3.2-3b",
            "priority",
        )
        assert reply["answers"] == "near"
        assert [(r["backend"], r["tier"]) for r in reply["routes"]] == [
            ("near", "ready"),
            ("broken", "last-resort"),
            ("off", "excluded"),
        ]
        assert "Connection refused" in reply["routes"][1]["why"]
        assert reply["routes"][2]["why"] == "Switched off."
        assert reply["routes"][0]["latency_ms"] > 0


async def test_a_model_that_only_a_switched_off_backend_has_is_explained_too(node: Node) -> None:
    await node.http.post("/mesh/backends/study/disable")
    reply = (await node.http.get("/mesh/route?model=llama-3.2-3b")).json()
    assert reply["answers"] is None
    assert [r["why"] for r in reply["routes"]] == ["Switched off."]
    assert "switch it on to use it" in reply["fix"]


async def test_who_would_answer_is_who_answers_when_routes_take_turns(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "a") as a,
        SimulatedEngine("vllm", "b") as b,
        SimulatedEngine("ollama", "c") as c,
        Node(tmp_path, [a, b, c], 'routing.policy = "round-robin"') as node,
    ):
        message, answered = [], []
        for _ in range(5):
            message.append((await node.http.get("/mesh/route?model=llama-3.2-3b")).json()["answers"])
            answered.append((await node.chat()).headers["x-meshlight-backend"])
        assert message == answered
        assert set(message) == {"a", "b", "c"}


async def test_a_model_that_nobody_has_is_told_with_names_that_are_near(node: Node) -> None:
    error = await error_of(node, "GET", "/mesh/route?model=lama-3.2-3b", 404)
    assert error["code"] == "model_not_found"
    assert "llama-3.2-3b" in error["hint"]


async def test_a_fallback_is_explained_before_the_model_that_is_down(tmp_path: Path) -> None:
    rules = f'{IN_ORDER}\n[[routing.rules]]\nmodel = "m"\nfallback = ["n"]\n'
    async with (
        SimulatedEngine("llamacpp", "a", ["m"]) as a,
        SimulatedEngine("vllm", "b", ["n"]) as b,
        Node(tmp_path, [a, b], rules) as node,
    ):
        reply = (await node.http.get("/mesh/route?model=m")).json()
        assert (reply["answers"], reply["instead"], reply["fallback"]) == ("a", "", "")
        await a.fault("refuse")
        await node.refresh()
        await node.refresh()
        reply = (await node.http.get("/mesh/route?model=m")).json()
        assert (reply["asked"], reply["model"], reply["answers"]) == ("m", "m", "b")
        assert (reply["instead"], reply["fallback"]) == ("n", "m is down")
        assert [(r["backend"], r["model"], r["tier"]) for r in reply["routes"]] == [
            ("b", "n", "ready"),
            ("a", "m", "last-resort"),
        ]
        answer = await node.http.post("/v1/chat/completions", json={"model": "m", "messages": []})
        assert (answer.headers["x-meshlight-model"], answer.headers["x-meshlight-fallback"]) == (
            "n",
            "m is down",
        )
