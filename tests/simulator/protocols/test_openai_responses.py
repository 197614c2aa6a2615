"""The responses API as the openai package sees it."""

import httpx
import pytest

from meshlight.simulator.engine import SimulatedEngine
from simulator.clients import Json, OpenAIOf

MODEL = "llama-3.2-3b"


@pytest.mark.parametrize("prompt", ["hello", [{"role": "user", "content": "hello"}]], ids=["text", "items"])
async def test_a_response_is_answered_whole(openai_of: OpenAIOf, prompt: str | list[Json]) -> None:
    async with SimulatedEngine("llamacpp", "Rosa") as engine:
        reply = await openai_of(engine).responses.create(model=MODEL, input=prompt)
    assert reply.status == "completed"
    assert "Rosa" in reply.output_text
    assert reply.usage.output_tokens == len(reply.output_text.split())


async def test_a_streamed_response_has_numbered_events_and_the_same_text(openai_of: OpenAIOf) -> None:
    async with SimulatedEngine("vllm") as engine:
        client = openai_of(engine)
        whole = await client.responses.create(model=MODEL, input="hello")
        events = [e async for e in await client.responses.create(model=MODEL, input="hello", stream=True)]
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == whole.output_text
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == whole.output_text
    assert [e.sequence_number for e in events] == list(range(len(events)))


async def test_a_response_that_was_cut_says_so(openai_of: OpenAIOf) -> None:
    async with SimulatedEngine("openai") as engine:
        client = openai_of(engine)
        whole = await client.responses.create(model=MODEL, input="hello", max_output_tokens=2)
        stream = await client.responses.create(model=MODEL, input="hello", max_output_tokens=2, stream=True)
        last = [event async for event in stream][-1]
    assert whole.status == "incomplete"
    assert whole.incomplete_details.reason == "max_output_tokens"
    assert last.type == "response.incomplete"


async def test_a_response_without_input_is_refused(http: httpx.AsyncClient) -> None:
    async with SimulatedEngine("openai") as engine:
        assert (await http.post(engine.url + "/v1/responses", json={"model": MODEL})).status_code == 400
