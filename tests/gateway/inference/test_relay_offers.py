"""A discovered engine that lists models of the user's own account gets no prompt for them."""

import asyncio
from pathlib import Path
from typing import Any

from meshlight.simulator.engine import SimulatedEngine
from node import Node


async def test_a_found_engine_that_lists_the_account_s_model_gets_no_prompt_until_a_rule_says_so(
    tmp_path: Path,
) -> None:
    async with (
        SimulatedEngine("vllm", "account", models=("gpt-5-mini",)) as account,
        SimulatedEngine("llamacpp", "fake", models=("gpt-5-mini", "small")) as fake,
        Node(tmp_path, discovery=True, ports=[fake.port]) as node,
    ):
        found = f"llamacpp-{fake.port}"
        added = {"kind": "openai-compatible", "url": account.url, "name": "account", "ring": "cloud"}
        assert (await node.http.post("/mesh/backends", json=added)).status_code == 201
        snapshot: dict[str, Any] = {}
        async with asyncio.timeout(15), node.http.stream("GET", "/mesh/events", timeout=15) as events:
            async for _ in events.aiter_lines():
                snapshot = (await node.http.get("/mesh/snapshot")).json()
                if snapshot["offered"]:
                    break
        assert snapshot["offered"] == {"gpt-5-mini": [found]}
        for model, answers in (("gpt-5-mini", "account"), ("small", found), (f"{found}/gpt-5-mini", found)):
            answer = await node.chat(model)
            assert (answer.status_code, answer.headers["x-meshlight-backend"]) == (200, answers)

        rules = {"rules": [{"model": "gpt-5-mini", "also": [found]}]}
        changed = await node.http.patch("/mesh/settings", json={"routing": rules})
        assert changed.status_code == 200, changed.text
        answer = await node.chat("gpt-5-mini")
        assert answer.headers["x-meshlight-backend"] == found
        assert (await node.http.get("/mesh/snapshot")).json()["offered"] == {}
