"""What costs money or changes something is never done twice, and a prompt leaves this network only by a rule."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from faults.raw import tune
from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node

UNANSWERED = ["reset-headers", "close-early", "garbage"]
DEAR: list[tuple[str, dict[str, Any]]] = [
    ("images/generations", {"prompt": "a boat"}),
    ("audio/speech", {"input": "hello", "voice": "demo"}),
    ("responses", {"input": "hi", "store": True}),
]


async def post(node: Node, path: str, **fields: Any) -> httpx.Response:
    return await node.http.post(f"/v1/{path}", json={"model": "llama-3.2-3b", **fields})


@pytest.mark.parametrize("kind", UNANSWERED)
async def test_a_metered_request_that_was_sent_and_brought_nothing_is_not_sent_again(
    tmp_path: Path, kind: Any
) -> None:
    async with (
        SimulatedEngine("openai", "a") as first,
        SimulatedEngine("openai", "b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        for name in ("a", "b"):
            await tune(node, name, ring="cloud")
        assert (await node.chat()).headers["x-meshlight-backend"] == "a"  # and its connection is kept
        await first.fault(kind, scope="inference")
        answer = await node.chat()
        assert answer.status_code == 502
        assert answer.headers["x-should-retry"] == "false"
        assert (len(first.calls()), len(second.calls())) == (2, 0)


@pytest.mark.parametrize(("kind", "status"), [("refuse", 0), ("status", 429), ("status", 503)])
async def test_a_metered_request_goes_on_where_it_was_not_sent_or_was_refused(
    tmp_path: Path, kind: Any, status: int
) -> None:
    async with (
        SimulatedEngine("openai", "a") as first,
        SimulatedEngine("openai", "b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        for name in ("a", "b"):
            await tune(node, name, ring="cloud")
        await first.fault(kind, **({"status": status, "scope": "inference"} if status else {}))
        answer = await node.chat()
        assert (answer.status_code, answer.headers["x-meshlight-backend"]) == (200, "b")


@pytest.mark.parametrize(("path", "fields"), DEAR)
@pytest.mark.parametrize("kind", [*UNANSWERED, "status"])
async def test_a_dear_request_is_never_sent_twice(
    tmp_path: Path, path: str, fields: dict[str, Any], kind: Any
) -> None:
    async with (
        SimulatedEngine("openai", "a") as first,
        SimulatedEngine("openai", "b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        assert (await node.chat()).status_code == 200  # its connection is kept, and not used
        await first.fault(kind, scope="inference")
        answer = await post(node, path, **fields)
        assert answer.status_code == (500 if kind == "status" else 502)
        assert (len(first.calls(f"/v1/{path}")), len(second.calls())) == (1, 0)


@pytest.mark.parametrize(("path", "fields"), DEAR)
async def test_a_dear_request_has_a_connection_of_its_own_and_moves_on_where_there_is_none(
    tmp_path: Path, path: str, fields: dict[str, Any]
) -> None:
    async with (
        SimulatedEngine("openai", "a") as first,
        SimulatedEngine("openai", "b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        await node.chat()
        for _ in range(2):
            assert (await post(node, path, **fields)).status_code == 200
        assert len({observed.connection for observed in first.calls()}) == 3
        await first.fault("refuse")
        assert (await post(node, path, **fields)).headers["x-meshlight-backend"] == "b"


async def test_a_response_that_is_not_stored_may_be_sent_again(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("openai", "a") as first,
        SimulatedEngine("openai", "b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        await first.fault("close-early", scope="inference")
        assert (await post(node, "responses", input="hi")).headers["x-meshlight-backend"] == "b"


@pytest.mark.parametrize(
    ("rule", "answers"),
    [
        ("", ""),
        ('[[routing.rules]]\nmodel = "*"\nspill = "cloud"\n', "b"),
        ('[[routing.rules]]\nmodel = "*"\nspill = "cloud"\nbound = "lan"\n', ""),
    ],
)
async def test_only_a_rule_lets_a_prompt_out_of_the_house(tmp_path: Path, rule: str, answers: str) -> None:
    async with (
        SimulatedEngine("openai", "a") as here,
        SimulatedEngine("openai", "b") as cloud,
        Node(tmp_path, [here, cloud], rule) as node,
    ):
        await tune(node, "b", ring="cloud")
        await here.fault("refuse")
        answer = await node.chat()
        assert answer.headers.get("x-meshlight-backend", "") == answers
        assert answer.status_code == (200 if answers else 503)
        assert len(cloud.calls()) == len(answers)
