"""What hurts is told by a whole node: in its list, in the snapshot, and by the light."""

from pathlib import Path
from typing import Any

from meshlight.domain.backend import Kind
from meshlight.simulator.engine import SimulatedEngine
from node import Node
from servers.api_server import Answer, ApiServer, json_answer


async def findings_of(node: Node) -> dict[str, Any]:
    """The findings, by kind."""
    answer = await node.http.get("/mesh/findings")
    assert answer.status_code == 200, answer.text
    return {finding["kind"]: finding for finding in answer.json()["findings"]}


async def test_a_model_that_fails_is_told_until_it_is_good_again(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "study") as engine, Node(tmp_path, [engine]) as node:
        assert await findings_of(node) == {}
        snapshot = (await node.http.get("/mesh/snapshot")).json()
        assert (snapshot["light"], snapshot["findings"]) == ("green", 0)
        await engine.fault("status", status=500, scope="inference")
        for _ in range(5):
            assert (await node.chat()).status_code == 500
        found = await findings_of(node)
        assert found["failing"] == {
            "kind": "failing",
            "severity": "suffer",
            "evidence": "5 of 5 requests for llama-3.2-3b failed at study in the last 10 min.",
            "why": "The engine answers with errors of its own (5xx) or breaks off: its log says why.",
            "fix": "Restart the engine, and check it again.",
            "command": "",
            "button": "check",
            "backend": "study",
            "model": "llama-3.2-3b",
        }
        snapshot = (await node.http.get("/mesh/snapshot")).json()
        assert (snapshot["light"], snapshot["findings"]) == ("amber", 1)
        assert snapshot["light_reason"] == found["failing"]["evidence"]


class OldVllm(ApiServer):
    """A vLLM of a version whose fault is known."""

    name = "study"
    kind: Kind = "vllm"

    def __init__(self) -> None:
        models = {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "vllm"}]}
        super().__init__(
            {
                ("GET", "/health"): Answer(),
                ("GET", "/v1/models"): json_answer(models),
                ("GET", "/version"): json_answer({"version": "0.11.0"}),
            }
        )


async def test_an_engine_s_known_fault_is_worth_a_look_and_leaves_the_light_green(tmp_path: Path) -> None:
    with OldVllm() as engine:
        async with Node(tmp_path, [engine]) as node:
            found = await findings_of(node)
            assert found["fault"]["severity"] == "look"
            assert found["fault"]["command"] == "pip install --upgrade vllm"
            snapshot = (await node.http.get("/mesh/snapshot")).json()
            assert (snapshot["light"], snapshot["findings"]) == ("green", 1)
