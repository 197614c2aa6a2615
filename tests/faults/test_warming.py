"""A backend that is loading its model is skipped; if it is the only one, the client is asked to wait."""

from pathlib import Path

from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node


async def test_while_one_backend_loads_another_answers(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "a") as loading,
        SimulatedEngine("vllm", "b") as ready,
        Node(tmp_path, [loading, ready], IN_ORDER) as node,
    ):
        await loading.fault("loading")
        answers = [await node.chat() for _ in range(5)]
        assert {(answer.status_code, answer.headers["x-meshlight-backend"]) for answer in answers} == {
            (200, "b")
        }
        assert (await node.backend("a"))["health"]["state"] == "warming"
        assert len(loading.calls()) == 1  # once it has said so it is left alone


async def test_alone_its_own_answer_is_passed_on_with_when_to_ask_again(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "a") as engine, Node(tmp_path, [engine]) as node:
        await engine.fault("loading")
        for _ in range(2):
            answer = await node.chat()
            assert answer.status_code == 503
            assert answer.json() == {
                "error": {"message": "Loading model", "type": "unavailable_error", "code": 503}
            }
            assert 1 <= int(answer.headers["retry-after"]) <= 60
            assert answer.headers["x-should-retry"] == "true"
        await engine.clear()
        assert (await node.chat()).status_code == 200


async def test_when_the_others_fail_the_client_is_told_that_one_is_loading(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "a") as loading,
        SimulatedEngine("vllm", "b") as other,
        Node(tmp_path, [loading, other], IN_ORDER) as node,
    ):
        await loading.fault("loading")
        await other.fault("refuse")
        answer = await node.chat()  # loading, then refused
        assert (answer.status_code, answer.headers["x-should-retry"]) == (503, "true")
        assert "is loading a model" in answer.json()["error"]["message"]
        assert "Connection refused" in answer.json()["error"]["message"]
