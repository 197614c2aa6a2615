"""What engines and accounts tell of themselves decides where a request goes, in a whole node."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clouds.scenario import KEY
from meshlight.domain.backend import Kind
from meshlight.simulator.clouds.base import Provider, SimulatedCloud
from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node
from servers.api_server import Answer, ApiServer, json_answer

WHY = "x-meshlight-why"
SAID = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}]}


class Vllm(ApiServer):
    """A vLLM of which so many requests of others wait."""

    kind: Kind = "vllm"

    def __init__(self, name: str, waiting: int) -> None:
        listed = {"data": [{"id": "m", "object": "model", "owned_by": "vllm", "max_model_len": 4096}]}
        gauges = f"vllm:num_requests_running 2.0\nvllm:num_requests_waiting {waiting}.0\n"
        super().__init__(
            {
                ("GET", "/v1/models"): json_answer(listed),
                ("GET", "/version"): json_answer({"version": "0.11.0"}),
                ("GET", "/metrics"): Answer(gauges.encode(), content_type="text/plain"),
                ("POST", "*"): json_answer(SAID),
            }
        )
        self.name = name


@pytest.fixture
def crowded() -> Iterator[Vllm]:
    with Vllm("crowded", waiting=5) as engine:
        yield engine


@pytest.fixture
def free() -> Iterator[Vllm]:
    with Vllm("free", waiting=0) as engine:
        yield engine


async def routes(node: Node, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await node.http.get(f"/mesh/route?model={query}")).json()["routes"]
    return found


async def test_an_engine_in_which_others_wait_is_left_and_still_used_where_it_is_the_only_one(
    tmp_path: Path, crowded: Vllm, free: Vllm
) -> None:
    async with Node(tmp_path, [crowded, free]) as node:
        for _ in range(6):
            answer = await node.chat("m")
            assert (answer.headers["x-meshlight-backend"], answer.headers[WHY]) == ("free", "crowded is full")
        shown = await routes(node, "m")
        assert [(r["backend"], r["slots"], r["why"]) for r in shown] == [
            ("free", None, "Crowded is full."),
            ("crowded", 2, "After free: it is full."),
        ]
        assert (await node.backend("crowded"))["about"]["Its queue"] == "5 wait, 2 run"
        await node.http.post("/mesh/backends/free/disable")
        for _ in range(4):
            assert (await node.chat("m")).headers["x-meshlight-backend"] == "crowded"
        assert (await node.http.get("/mesh/snapshot")).json()["models"][0]["waiting"] == 0


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_an_account_that_is_used_up_is_left_until_its_time(tmp_path: Path, provider: Provider) -> None:
    async with (
        SimulatedCloud(provider, limit=1) as small,
        SimulatedCloud(provider) as large,
        Node(tmp_path, extra=IN_ORDER) as node,
    ):
        for priority, (name, cloud) in enumerate((("small", small), ("large", large))):
            body = {"kind": provider, "name": name, "url": cloud.url, "api_key": KEY, "priority": priority}
            assert (await node.http.post("/mesh/backends", json=body)).is_success
        answers = [await node.chat(small.models[0]) for _ in range(3)]
        went = [(answer.headers["x-meshlight-backend"], answer.headers[WHY]) for answer in answers]
        assert went[0] == ("small", "first by priority")
        assert went[1:] == [("large", "the limit of small is used up")] * 2
        first, second = await routes(node, small.models[0])
        assert (first["backend"], second["backend"]) == ("large", "small")
        assert second["why"].startswith("After large: the limit of its account is used up for ")


async def test_what_a_request_says_of_the_memory_is_known_at_once(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("ollama", "a", ["m"]) as a,
        SimulatedEngine("ollama", "b", ["m"]) as b,
        Node(tmp_path, [a, b], IN_ORDER) as node,
    ):

        async def chat(**fields: Any) -> str:
            asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": False}
            answer = await node.http.post("/api/chat", json=asked | fields)
            assert answer.is_success, answer.text
            return str(answer.headers["x-meshlight-backend"])

        for name in ("a", "b"):  # both answer once, so their places are known to be warm
            assert (await node.http.post(f"/mesh/backends/{name}/disable")).is_success
            await chat()
            assert (await node.http.post(f"/mesh/backends/{name}/enable")).is_success
        await node.refresh()
        assert {r["backend"]: r["loaded"] for r in await routes(node, "m")} == {"a": True, "b": True}
        went = await chat(keep_alive="0")
        other = "b" if went == "a" else "a"
        assert {r["backend"]: r["loaded"] for r in await routes(node, "m")} == {went: False, other: True}
        assert {await chat() for _ in range(3)} == {other}


async def test_each_place_says_what_it_holds_and_who_is_left(tmp_path: Path) -> None:
    sizes = {"small": 4_096, "middle": 16_384, "large": 131_072}
    engines = {name: SimulatedEngine("llamacpp", name, ["m"]) for name in sizes}
    for name, engine in engines.items():
        engine.facts.context = sizes[name]
    async with (
        engines["small"] as a,
        engines["middle"] as b,
        engines["large"] as c,
        Node(tmp_path, [a, b, c], IN_ORDER) as node,
    ):
        shown = {r["backend"]: (r["tier"], r["why"]) for r in await routes(node, "m&tokens=9000")}
        assert shown == {
            "middle": ("ready", "First by priority."),
            "large": ("ready", "After middle: later by priority."),
            "small": ("excluded", "It holds 4,096 tokens, the request needs 9,000."),
        }
        reply = (await node.http.get("/mesh/route?model=m&tokens=20000")).json()
        assert reply["answers"] == "large"
        assert [(r["backend"], r["tier"], r["why"]) for r in reply["routes"]] == [
            ("large", "ready", "Only one with 128k context."),
            ("small", "excluded", "It holds 4,096 tokens, the request needs 20,000."),
            ("middle", "excluded", "It holds 16,384 tokens, the request needs 20,000."),
        ]
        reply = (await node.http.get("/mesh/route?model=m&tokens=200000")).json()
        assert (reply["answers"], {r["tier"] for r in reply["routes"]}) == (None, {"excluded"})
        assert reply["fix"] == (
            "m at large holds the most, 131,072 tokens. "
            "Shorten the prompt, or start llama-server there with a larger `-c`."
        )
        assert [r["tier"] for r in await routes(node, "m&tokens=100")] == ["ready"] * 3
