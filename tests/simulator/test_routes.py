"""Keys, and bodies that are none."""

from typing import get_args

import httpx
import openai
import pytest

from meshlight.simulator.engine import SimulatedEngine
from meshlight.simulator.profile import Dialect
from simulator.clients import OpenAIOf

MODEL = "llama-3.2-3b"


@pytest.mark.parametrize("dialect", get_args(Dialect))
async def test_with_a_key_only_those_who_have_it_are_answered(dialect: Dialect, openai_of: OpenAIOf) -> None:
    async with SimulatedEngine(dialect, key="sesame") as engine:
        with pytest.raises(openai.AuthenticationError):
            await openai_of(engine, "wrong").models.list()
        assert (await openai_of(engine, "sesame").models.list()).data[0].id == MODEL


async def test_health_needs_no_key(http: httpx.AsyncClient) -> None:
    async with (
        SimulatedEngine("llamacpp", key="sesame") as first,
        SimulatedEngine("vllm", key="sesame") as second,
    ):
        for engine in (first, second):
            assert (await http.get(engine.url + "/health")).status_code == 200
        assert (await http.get(first.url + "/v1/models")).json()["error"]["message"] == "Invalid API Key"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{bad",
        b"[1]",
        b'{"model":"llama-3.2-3b","messages":[]}',
        b'{"model":"llama-3.2-3b","messages":[{"content":"x"}],"max_tokens":-2}',
        b'{"model":"llama-3.2-3b","messages":[{"content":"x"}],"max_tokens":"many"}',
        b'{"model":"llama-3.2-3b","messages":[{"content":"x"}],"tools":7}',
        b'{"model":"llama-3.2-3b","messages":[{"content":"x"}],"tools":"7","tool_choice":[]}'.replace(
            b'"7"', b'[{"type":"function","function":{"name":"f","parameters":7}}]'
        ).replace(b"[]}", b'"required"}'),
        b"[" * 100_000,
    ],
)
async def test_a_body_that_makes_no_sense_is_refused_and_the_engine_lives_on(
    http: httpx.AsyncClient, body: bytes
) -> None:
    async with SimulatedEngine("vllm") as engine:
        reply = await http.post(engine.url + "/v1/chat/completions", content=body)
        assert reply.status_code == 400
        assert reply.json()["error"]["type"] == "BadRequestError"
        assert (await http.get(engine.url + "/health")).status_code == 200


async def test_an_answer_takes_as_long_as_its_pace_says(http: httpx.AsyncClient) -> None:
    waits = []

    async def pace(seconds: float) -> None:
        waits.append(seconds)

    async with SimulatedEngine("openai", speed=20, first_token_s=0.5, length=3, pace=pace) as engine:
        ask = {"model": MODEL, "messages": [{"role": "user", "content": "hello"}]}
        await http.post(engine.url + "/v1/chat/completions", json=ask)
    assert waits == [0.5, 0.05, 0.05]
