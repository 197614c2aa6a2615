"""Before the first byte a request moves on to the next backend, and the client notices nothing."""

from pathlib import Path
from typing import Any

import pytest

from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node

FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("refuse", {}),
    ("reset-headers", {}),
    ("close-early", {}),
    ("garbage", {}),
    ("big-head", {}),
    ("status", {"status": 500}),
    ("status", {"status": 502}),
    ("status", {"status": 503}),
    ("status", {"status": 504}),
    ("status", {"status": 429, "retry_after_s": 30}),
    ("status", {"status": 401}),
    ("status", {"status": 404}),
    ("status", {"status": 501}),
    ("html", {}),
    ("loading", {}),
]


@pytest.mark.parametrize(("kind", "details"), FAULTS)
async def test_no_client_of_a_hundred_sees_a_backend_fail(
    tmp_path: Path, kind: Any, details: dict[str, Any]
) -> None:
    async with (
        SimulatedEngine("llamacpp", "bad") as bad,
        SimulatedEngine("vllm", "good") as good,
        Node(tmp_path, [bad, good], IN_ORDER) as node,
    ):
        await bad.fault(kind, **(details if kind == "refuse" else details | {"scope": "inference"}))
        answers = [await node.chat() for _ in range(100)]
        assert [answer.status_code for answer in answers] == [200] * 100
        assert {answer.headers["x-meshlight-backend"] for answer in answers} == {"good"}
        assert all("good" in answer.json()["choices"][0]["message"]["content"] for answer in answers)
        assert len(good.calls()) == 100
        assert bad.calls() or kind == "refuse"


async def test_the_answer_says_who_answered_and_how_many_were_asked(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "bad") as bad,
        SimulatedEngine("vllm", "good") as good,
        Node(tmp_path, [bad, good], IN_ORDER) as node,
    ):
        await bad.fault("status", status=500, scope="inference")
        answer = await node.chat()
        assert answer.headers["x-meshlight-backend"] == "good"
        assert answer.headers["x-meshlight-attempts"] == "2"
        assert answer.headers["x-request-id"]
