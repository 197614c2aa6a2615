"""A node with clouds behind it that somebody else plays (npm's @copilotkit/aimock, run by tests/clouds/aimock.mjs).

It is no ground truth: its statuses for Gemini's errors, Anthropic's usage and its one list for all providers are
its own. What it proves is that requests of ours are understood by a server that we did not write.
"""

import pytest

from clouds.scenario import ASK, KEY, Mock, add
from meshlight.domain.backend import Kind
from node import Node

MODELS: dict[Kind, str] = {
    "openai": "gpt-5-mini",
    "anthropic": "claude-sonnet-4-6",
    "gemini": "gemini-3-flash",
}
FACES = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/chat/completions",
    "gemini": "/v1beta/openai/chat/completions",
}


@pytest.mark.parametrize("kind", MODELS)
async def test_models_are_listed_and_a_chat_is_streamed(node: Node, aimock: Mock, kind: Kind) -> None:
    shown = await add(node, kind, aimock.url)
    assert shown["health"]["state"] == "healthy"
    assert MODELS[kind] in shown["models"]
    body = {"model": f"{kind}/{MODELS[kind]}", "messages": ASK, "stream": True}
    async with node.http.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        lines = [line async for line in answer.aiter_lines() if line]
    assert lines[-1] == "data: [DONE]"
    assert len(lines) > 4
    (seen,) = await aimock.request_log(FACES[kind])
    assert seen["body"]["model"] == MODELS[kind]


@pytest.mark.parametrize("kind", MODELS)
async def test_a_wrong_key_is_refused(node: Node, aimock: Mock, kind: Kind) -> None:
    refused = await node.http.post(
        "/mesh/backends", json={"kind": kind, "url": aimock.url, "api_key": "wrong"}
    )
    assert refused.status_code == 422
    assert "refuses the API key" in refused.json()["error"]["message"]


@pytest.mark.parametrize("kind", MODELS)
async def test_a_rate_limit_comes_with_its_wait(node: Node, aimock: Mock, kind: Kind) -> None:
    await add(node, kind, aimock.url)
    body = {"model": f"{kind}/{MODELS[kind]}", "messages": [{"role": "user", "content": "LIMIT"}]}
    refused = await node.http.post("/v1/chat/completions", json=body)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    assert "Rate limit reached" in refused.json()["error"]["message"]
    assert (await node.backend(kind))["health"]["reason"] == "rate-limited"
    assert len(await aimock.request_log(FACES[kind])) == 1


async def test_a_used_up_quota_is_no_rate_limit(node: Node, aimock: Mock) -> None:
    await add(node, "openai", aimock.url)
    body = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "content": "QUOTA"}]}
    assert (await node.http.post("/v1/chat/completions", json=body)).status_code == 429
    health = (await node.backend("openai"))["health"]
    assert health["reason"] == "quota"
    assert "waiting won't help" in health["text"]


async def test_anthropics_messages_pass_as_they_are(node: Node, aimock: Mock) -> None:
    await add(node, "anthropic", aimock.url)
    body = {"model": "anthropic/claude-sonnet-4-6", "max_tokens": 64, "messages": ASK, "stream": True}
    async with node.http.stream("POST", "/v1/messages", json=body) as answer:
        lines = [line async for line in answer.aiter_lines() if line]
    assert lines[0] == "event: message_start"
    assert "event: message_stop" in lines
    (seen,) = await aimock.request_log("/v1/messages")
    assert seen["headers"]["anthropic-version"] == "2023-06-01"


async def test_geminis_own_requests_pass_as_they_are(node: Node, aimock: Mock) -> None:
    await add(node, "gemini", aimock.url)
    body = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
    whole = await node.http.post("/v1beta/models/gemini-3-flash:generateContent", json=body)
    assert "gemini-3-flash" in whole.json()["candidates"][0]["content"]["parts"][0]["text"]
    streamed = await node.http.post("/v1beta/models/gemini-3-flash:streamGenerateContent?alt=sse", json=body)
    assert streamed.text.count("data: ") > 2


async def test_vectors_and_responses_come_from_openai(node: Node, aimock: Mock) -> None:
    await add(node, "openai", aimock.url)
    vectors = await node.http.post(
        "/v1/embeddings",
        json={"model": "openai/gpt-5-mini", "input": "a vector", "encoding_format": "float"},
    )
    assert vectors.json()["data"][0]["embedding"] == [0.5, -0.25, 0.125]
    response = await node.http.post("/v1/responses", json={"model": "openai/gpt-5-mini", "input": "hello"})
    assert response.json()["status"] == "completed"


async def test_the_key_is_never_shown(node: Node, aimock: Mock) -> None:
    await add(node, "openai", aimock.url)
    assert KEY not in (await node.http.get("/mesh/snapshot")).text
