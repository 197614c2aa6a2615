"""Clients of Anthropic's and Ollama's at a real mlx_lm.server, which has neither protocol."""

import pytest
from anthropic import AsyncAnthropic

from clients.rig import added
from clients.test_ollama import client_of
from node import WAIT_S, Node
from real.engines import Engine

pytestmark = pytest.mark.real


async def test_anthropics_client_is_answered_and_its_tokens_are_counted(node: Node, mlx: Engine) -> None:
    await added(node, "mlx", mlx.url)
    async with AsyncAnthropic(base_url=node.url, api_key=node.key, max_retries=0, timeout=WAIT_S) as client:
        async with client.messages.stream(
            model=mlx.model, max_tokens=16, messages=[{"role": "user", "content": "the quick"}]
        ) as stream:
            deltas = [event async for event in stream if event.type == "content_block_delta"]
            final = await stream.get_final_message()
        counted = await client.messages.count_tokens(
            model=mlx.model, messages=[{"role": "user", "content": "the quick"}]
        )
    assert len(deltas) > 5, "the answer came in one lump"
    assert (final.stop_reason, final.usage.output_tokens, final.model) == ("max_tokens", 16, mlx.model)
    assert final.usage.input_tokens + (final.usage.cache_read_input_tokens or 0) == counted.input_tokens


async def test_ollamas_client_is_answered(node: Node, mlx: Engine) -> None:
    await added(node, "mlx", mlx.url)
    async with client_of(node) as client:
        asked = await client.chat(
            model=mlx.model,
            messages=[{"role": "user", "content": "the quick"}],
            stream=True,
            options={"num_predict": 16},
        )
        parts = [part async for part in asked]
    assert "".join(part.message.content or "" for part in parts)
    assert len(parts) > 5
    assert (parts[-1].done_reason, parts[-1].eval_count) == ("length", 16)
