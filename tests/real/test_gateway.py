"""The real engines through a real Meshlight: what passes directly passes through the gateway."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest

from real import client_contract as promises
from real.client_contract import Promise, name_of
from real.engines import Engine
from real.served import Served, serving
from real.subject import Subject

pytestmark = pytest.mark.real

HELLO = [{"role": "user", "content": "Who are you?"}]
SURE: dict[str, Any] = {"temperature": 0, "seed": 1, "cache_prompt": False}
"""Makes an answer the same each time; without the last, llama-server says how much of the prompt it remembered."""
CHAT: dict[str, Any] = {**SURE, "messages": HELLO}
USAGE = {"stream": True, "stream_options": {"include_usage": True}}
LLAMA_ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("chat/completions", CHAT),
    "chat-stream": ("chat/completions", CHAT | USAGE),
    "tools-stream": ("chat/completions", CHAT | USAGE | {"tools": [promises.WEATHER]}),
    "completion": ("completions", {**SURE, "prompt": "Who?\n", "max_tokens": 32}),
    "completion-stream": ("completions", {**SURE, "prompt": "Who?\n", "max_tokens": 32, "stream": True}),
    "embeddings": ("embeddings", {"input": ["aaaa", "bbbb"]}),
    "embeddings-base64": ("embeddings", {"input": "aaaa", "encoding_format": "base64"}),
    "responses": ("responses", {**SURE, "input": "Who are you?"}),
    "responses-stream": ("responses", {**SURE, "input": "Who are you?", "stream": True}),
    "bad-request": ("chat/completions", {**CHAT, "max_tokens": "many"}),
    "not-supported": ("rerank", {"query": "a", "documents": ["b"]}),
}
MLX_ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("chat/completions", {**CHAT, "max_tokens": 16}),
    "chat-stream": ("chat/completions", {**CHAT, **USAGE, "max_tokens": 16}),
    "completion": ("completions", {**SURE, "prompt": "the quick", "max_tokens": 16}),
    "bad-request": ("chat/completions", {**CHAT, "max_tokens": -5}),
}
CHANGES = re.compile(
    rb'"(?:id|item_id|system_fingerprint)": ?"[^"]*"'
    rb'|"(?:created|created_at|completed_at)": ?[0-9]+'
    rb'|"timings": ?\{[^{}]*\}'
)
"""What differs between two equal answers of one engine."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("gateway"), "--no-discovery") as running:
        yield running


@pytest.fixture(scope="module")
def to_llama(served: Served, llama: Engine) -> Subject:
    served.mesh.add({"kind": "llamacpp", "name": "Real llama", "url": llama.url})
    served.wait("real-llama", "healthy")
    return Subject(f"{served.url}/v1", llama.model, served.key)


@pytest.fixture(scope="module")
def to_mlx(served: Served, mlx: Engine) -> Subject:
    served.mesh.add({"kind": "mlx", "name": "Real MLX", "url": mlx.url})
    served.wait("real-mlx", "healthy")
    return Subject(f"{served.url}/v1", mlx.model, served.key)


@pytest.mark.parametrize("promise", promises.LLAMA, ids=name_of)
async def test_llama_server_through_meshlight_keeps_the_promise_that(
    promise: Promise, to_llama: Subject, llama: Engine
) -> None:
    await promise(to_llama, llama)


@pytest.mark.parametrize("promise", promises.MLX, ids=name_of)
async def test_mlx_lm_server_through_meshlight_keeps_the_promise_that(
    promise: Promise, to_mlx: Subject, mlx: Engine
) -> None:
    await promise(to_mlx, mlx)


@pytest.mark.parametrize("asked", LLAMA_ASKED)
def test_every_byte_of_llama_server_arrives_as_it_was_sent(
    asked: str, to_llama: Subject, llama: Engine
) -> None:
    operation, fields = LLAMA_ASKED[asked]
    _same_both_ways(f"{llama.url}/v1", to_llama, operation, fields)


def test_a_prompt_that_its_context_does_not_hold_is_not_sent_and_refused_in_openai_s_words(
    to_llama: Subject,
) -> None:
    long = [{"role": "user", "content": "long " * 3000}]
    with _speaking_to(to_llama) as client:
        refused = client.post("chat/completions", json={**SURE, "model": to_llama.model, "messages": long})
    error = refused.json()["error"]
    assert (refused.status_code, error["code"]) == (400, "context_length_exceeded")
    assert error["message"].startswith("This model's maximum context length is 2048 tokens.")
    assert refused.headers["x-meshlight-attempts"] == "0"


@pytest.mark.parametrize("asked", MLX_ASKED)
def test_every_byte_of_mlx_lm_server_arrives_as_it_was_sent(asked: str, to_mlx: Subject, mlx: Engine) -> None:
    operation, fields = MLX_ASKED[asked]
    _same_both_ways(f"{mlx.url}/v1", to_mlx, operation, fields)


async def test_a_model_can_be_asked_for_by_its_name_even_if_that_is_a_path(to_mlx: Subject) -> None:
    assert "/" in to_mlx.model
    async with to_mlx.client() as client:
        card = await client.models.retrieve(to_mlx.model)
    assert card.id == to_mlx.model


@pytest.mark.usefixtures("to_mlx")
async def test_a_model_nobody_has_is_not_found_and_no_engine_hears_of_it(
    to_llama: Subject, llama: Engine, mlx: Engine
) -> None:
    length_before = len(llama.output()), len(mlx.output())
    async with to_llama.client() as client:
        with pytest.raises(openai.NotFoundError, match=r"Did you mean tiny-a\?") as chat:
            await client.chat.completions.create(model="tiny-z", messages=promises.HELLO)
        assert chat.value.code == "model_not_found"
        with pytest.raises(openai.NotFoundError):
            await client.models.retrieve("tiny-z")
    assert "processing task" not in llama.output()[length_before[0] :]
    assert "tiny-z" not in mlx.output()[length_before[1] :]


async def test_a_client_without_the_local_key_is_refused_as_the_openai_client_knows_it(
    to_llama: Subject,
) -> None:
    async with Subject(to_llama.base_url, to_llama.model, "sk-of-somebody").client() as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model=to_llama.model, messages=promises.HELLO)


async def test_who_leaves_is_counted_as_gone_and_not_held_against_the_engine(
    served: Served, to_llama: Subject, llama: Engine
) -> None:
    before = served.mesh.snapshot().router.requests
    for _ in range(4):
        await promises.leaving_an_endless_stream_frees_its_slot(to_llama, llama)
    after = served.until(lambda mesh: mesh.router.requests.in_flight == 0, 2.0).router.requests
    backend = served.backend("real-llama")
    assert (after.cancelled - before.cancelled, after.failed - before.failed) == (4, 0)
    assert backend is not None
    assert (backend.health.state, backend.in_flight) == ("healthy", 0)


def test_asking_for_what_an_engine_cannot_do_leaves_it_healthy_for_what_it_can(
    served: Served, to_llama: Subject
) -> None:
    with _speaking_to(to_llama) as client:
        asked = {"model": to_llama.model, "query": "a", "documents": ["b"]}
        answers = [client.post("rerank", json=asked) for _ in range(4)]
        chat = client.post("chat/completions", json={**CHAT, "model": to_llama.model})
    backend = served.backend("real-llama")
    assert backend is not None
    assert [answer.status_code for answer in answers] == [501] * 4
    assert chat.status_code == 200
    assert backend.health.state == "healthy", backend.health.text


def test_tokens_are_counted_as_the_engine_counts_them(served: Served, to_llama: Subject) -> None:
    before = served.backend("real-llama")
    with _speaking_to(to_llama) as client:
        used = client.post("chat/completions", json={**CHAT, "model": to_llama.model}).json()["usage"]
    after = served.backend("real-llama")
    assert before is not None
    assert after is not None
    assert after.requests.tokens_in - before.requests.tokens_in == used["prompt_tokens"]
    assert after.requests.tokens_out - before.requests.tokens_out == used["completion_tokens"]


def _same_both_ways(direct_url: str, through: Subject, operation: str, fields: dict[str, Any]) -> None:
    """Ask the same directly and through Meshlight; the answers differ in nothing that an application reads."""
    body = {"model": through.model, **fields}
    with _speaking_to(Subject(direct_url, through.model)) as client:
        direct = client.post(operation, json=body)
    with _speaking_to(through) as client:
        passed = client.post(operation, json=body)
    assert passed.status_code == direct.status_code
    assert CHANGES.sub(b"~", passed.content) == CHANGES.sub(b"~", direct.content)
    assert passed.headers["content-type"] == direct.headers["content-type"]
    assert "server" not in passed.headers
    assert passed.headers["x-meshlight-backend"].startswith("real-")
    assert passed.headers["x-meshlight-attempts"] == "1"
    assert passed.headers["x-request-id"]


def _speaking_to(subject: Subject) -> httpx.Client:
    return httpx.Client(
        base_url=subject.base_url,
        headers={"authorization": f"Bearer {subject.api_key}"},
        trust_env=False,
        timeout=30.0,
    )
