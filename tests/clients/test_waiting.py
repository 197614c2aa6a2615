"""The clients of OpenAI and Anthropic while their requests wait for a slot: signs of life, answers and errors."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anthropic
import openai
import pytest
from anthropic import AsyncAnthropic
from anthropic.types import MessageParam
from openai.types.chat import ChatCompletionMessageParam

from clients.rig import openai_at
from clients.scripted import stream_of
from faults.held import HeldEngine
from faults.raw import Caller, chat, complete
from node import WAIT_S, Node

ASK: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hi"}]
ASK_CLAUDE: list[MessageParam] = [{"role": "user", "content": "hi"}]
TOO_LONG = b'{"error": {"message": "Too long.", "type": "invalid_request_error", "code": "x", "param": null}}'


@asynccontextmanager
async def occupied(
    home: Path, *, beat_s: float = 0.02, queue_s: float = 60.0
) -> AsyncIterator[tuple[Node, HeldEngine]]:
    """Run a node whose only engine has one slot, which is taken."""
    async with HeldEngine("only") as engine:
        engine.says = b"".join(stream_of([{"content": "Hello"}, {"content": " there"}]))
        async with Node(home, [engine], f"[routing]\nqueue_s = {queue_s}\n", beat_s=beat_s) as node:
            changed = await node.http.patch("/mesh/backends/only", json={"slots": 1})
            assert changed.json()["slots"] == 1
            first = await Caller.post(node, chat("m"))
            await engine.until_held(1)
            try:
                yield node, engine
            finally:
                first.hang_up()


@pytest.fixture
async def busy(tmp_path: Path) -> AsyncIterator[tuple[Node, HeldEngine]]:
    async with occupied(tmp_path) as found:
        yield found


def anthropic_at(node: Node) -> AsyncAnthropic:
    return AsyncAnthropic(base_url=node.url, api_key=node.key, max_retries=0, timeout=WAIT_S)


async def after_beats(node: Node, engine: HeldEngine) -> None:
    """Free the slot once a stream that came last has had three signs of life."""
    last = await Caller.post(node, chat("m", stream=True))
    async with asyncio.timeout(WAIT_S):
        while last.got.count(b": waiting\n\n") < 3:
            last.got += await last.reader.read(65_536)
    last.hang_up()
    engine.answer_all()


async def test_openais_client_bears_comments_before_its_stream(busy: tuple[Node, HeldEngine]) -> None:
    node, engine = busy
    async with openai_at(node) as client:
        stream = await client.chat.completions.create(model="m", messages=ASK, stream=True)
        await after_beats(node, engine)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert "".join(pieces) == "Hello there"


async def test_anthropics_client_bears_pings_before_its_stream(busy: tuple[Node, HeldEngine]) -> None:
    node, engine = busy
    async with (
        anthropic_at(node) as client,
        client.messages.stream(model="m", max_tokens=9, messages=ASK_CLAUDE) as stream,
    ):
        await after_beats(node, engine)
        said = await stream.get_final_message()
    assert [block.text for block in said.content if block.type == "text"] == ["Hello there"]
    assert said.stop_reason == "end_turn"


async def test_an_error_after_a_sign_of_life_is_raised_by_both_clients(busy: tuple[Node, HeldEngine]) -> None:
    node, engine = busy
    engine.says = complete(TOO_LONG, b"content-type: application/json", status=b"400 Bad Request")
    async with openai_at(node) as ours, anthropic_at(node) as theirs:
        stream = await ours.chat.completions.create(model="m", messages=ASK, stream=True)
        async with theirs.messages.stream(model="m", max_tokens=9, messages=ASK_CLAUDE) as messages:
            await after_beats(node, engine)
            with pytest.raises(openai.APIError, match="Too long"):
                [chunk async for chunk in stream]
            with pytest.raises(anthropic.APIStatusError, match="Too long"):
                await messages.get_final_message()


async def test_a_wait_that_is_too_long_is_each_clients_rate_limit_error(tmp_path: Path) -> None:
    async with occupied(tmp_path, beat_s=60.0, queue_s=0.05) as (node, _):
        async with openai_at(node) as ours, anthropic_at(node) as theirs:
            with pytest.raises(openai.RateLimitError, match="1 of 1 slots busy") as limited:
                await ours.chat.completions.create(model="m", messages=ASK)
            with pytest.raises(anthropic.RateLimitError, match="1 of 1 slots busy"):
                await theirs.messages.create(model="m", max_tokens=9, messages=ASK_CLAUDE)
        assert limited.value.response.headers["retry-after"] == "5"
        assert limited.value.response.headers["x-should-retry"] == "true"
        ollama = await node.http.post("/api/chat", json={"model": "m", "messages": ASK})
        assert (ollama.status_code, "1 of 1 slots busy" in ollama.json()["error"]) == (429, True)


async def test_a_wait_that_is_too_long_ends_a_stream_that_has_begun_with_an_error(tmp_path: Path) -> None:
    async with (
        occupied(tmp_path, beat_s=0.02, queue_s=0.1) as (node, _),
        openai_at(node) as ours,
        anthropic_at(node) as theirs,
    ):
        with pytest.raises(openai.APIError, match="1 of 1 slots busy"):
            [c async for c in await ours.chat.completions.create(model="m", messages=ASK, stream=True)]
        with pytest.raises(anthropic.APIStatusError, match="1 of 1 slots busy"):
            async with theirs.messages.stream(model="m", max_tokens=9, messages=ASK_CLAUDE) as messages:
                await messages.get_final_message()


async def test_who_waits_is_in_the_snapshot(busy: tuple[Node, HeldEngine]) -> None:
    node, _ = busy
    waiting = [await Caller.post(node, chat("m", stream=True)) for _ in range(3)]
    for caller in waiting:
        await caller.until(b": waiting")
    seen = (await node.http.get("/mesh/snapshot")).json()
    assert [model["waiting"] for model in seen["models"]] == [3]
    assert [backend["in_flight"] for backend in seen["backends"]] == [1]
    for caller in waiting:
        caller.hang_up()
