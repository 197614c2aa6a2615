"""Containers and files that one account keeps: the real clients reach it, or read who has them."""

from collections.abc import AsyncIterator
from pathlib import Path

import anthropic
import openai
import pytest
from anthropic import AsyncAnthropic

from clients.rig import openai_at
from meshlight.simulator.clouds.base import Provider, SimulatedCloud
from node import WAIT_S, Node


@pytest.fixture
async def node(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Node]:
    """A node with two accounts of one provider, which take turns."""
    provider: Provider = request.param
    async with (
        SimulatedCloud(provider) as east,
        SimulatedCloud(provider) as west,
        Node(tmp_path, extra='routing.policy = "round-robin"') as node,
    ):
        for name, cloud in (("east", east), ("west", west)):
            await add_named(node, provider, name, cloud.url)
        yield node


async def add_named(node: Node, provider: Provider, name: str, url: str) -> None:
    body = {"kind": provider, "name": name, "url": url, "api_key": "demo-key-of-nobody"}
    answer = await node.http.post("/mesh/backends", json=body)
    assert answer.is_success, answer.text


@pytest.mark.parametrize("node", ["anthropic"], indirect=True)
async def test_anthropics_client_stays_with_its_container(node: Node) -> None:
    async with AsyncAnthropic(base_url=node.url, api_key=node.key, max_retries=0, timeout=WAIT_S) as client:

        async def ask() -> str:
            raw = await client.messages.with_raw_response.create(
                model="claude-sonnet-4-6",
                max_tokens=9,
                messages=[{"role": "user", "content": "hi"}],
                extra_body={"container": "container_1"},
            )
            return raw.headers["x-meshlight-backend"]

        owner = await ask()
        assert {await ask() for _ in range(4)} == {owner}
        assert (await node.http.post(f"/mesh/backends/{owner}/disable")).is_success
        with pytest.raises(anthropic.BadRequestError, match=f"container .* is kept by {owner}"):
            await ask()


@pytest.mark.parametrize("node", ["openai"], indirect=True)
async def test_openais_client_stays_with_its_file(node: Node) -> None:
    async with openai_at(node) as client:

        async def ask() -> str:
            raw = await client.chat.completions.with_raw_response.create(
                model="gpt-5-mini",
                messages=[{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}],
            )
            return raw.headers["x-meshlight-backend"]

        owner = await ask()
        assert {await ask() for _ in range(4)} == {owner}
        assert (await node.http.post(f"/mesh/backends/{owner}/disable")).is_success
        with pytest.raises(openai.BadRequestError, match=f"file .* is kept by {owner}") as caught:
            await ask()
        assert caught.value.param == "file_id"
