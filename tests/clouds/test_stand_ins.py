"""A node with the three clouds behind it, played by our own stand-ins: what a person sees, and what the clouds do."""

import anthropic
import pytest

from clouds.scenario import ASK, KEY, add
from meshlight.simulator.clouds.base import Provider, SimulatedCloud
from meshlight.simulator.clouds.errors import Trouble
from node import Node

PROVIDERS: tuple[Provider, ...] = ("openai", "anthropic", "gemini")
CHAT = "/v1/chat/completions"


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_cloud_is_added_with_its_key_and_its_models_are_listed(
    node: Node, provider: Provider
) -> None:
    async with SimulatedCloud(provider) as cloud:
        shown = await add(node, provider, cloud.url)
        assert (shown["health"]["state"], shown["ring"]) == ("healthy", "cloud")
        assert shown["models"] == list(cloud.models)
        assert KEY not in str(shown)
        listed = (await node.http.get("/v1/models")).json()
        assert {model["id"] for model in listed["data"]} >= set(cloud.models)


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_a_wrong_key_is_told_before_anything_is_saved(node: Node, provider: Provider) -> None:
    async with SimulatedCloud(provider) as cloud:
        body = {"kind": provider, "url": cloud.url, "api_key": "wrong-key"}
        refused = await node.http.post("/mesh/backends", json=body)
    assert refused.status_code == 422
    assert "refuses the API key" in refused.json()["error"]["message"]
    assert "wrong-key" not in refused.text
    assert (await node.http.get("/mesh/backends")).json()["backends"] == []


async def test_without_an_address_it_is_the_providers_own(node: Node) -> None:
    body = {"kind": "anthropic", "name": "anthropic", "api_key": KEY, "save_anyway": True, "enabled": False}
    assert (await node.http.post("/mesh/backends", json=body)).is_success
    assert (await node.backend("anthropic"))["url"] == "https://api.anthropic.com"


@pytest.mark.parametrize("provider", PROVIDERS)
async def test_each_answers_openais_clients_whole_and_streamed(node: Node, provider: Provider) -> None:
    async with SimulatedCloud(provider, speed=2_000) as cloud:
        await add(node, provider, cloud.url)
        whole = await node.chat(cloud.models[0])
        assert whole.is_success, whole.text
        assert cloud.label in whole.json()["choices"][0]["message"]["content"]
        body = {"model": cloud.models[0], "messages": ASK, "stream": True}
        async with node.http.stream("POST", CHAT, json=body) as answer:
            lines = [line async for line in answer.aiter_lines() if line]
        assert len(lines) > 10
        assert lines[-1] == "data: [DONE]"
        asked = cloud.requests[-1]
        assert asked.header("authorization") == f"Bearer {KEY}"
        assert node.key not in str(asked.headers)


async def test_anthropics_own_client_speaks_to_anthropic_itself(node: Node) -> None:
    async with SimulatedCloud("anthropic", speed=2_000) as cloud:
        await add(node, "anthropic", cloud.url)
        async with anthropic.AsyncAnthropic(base_url=node.url, api_key=node.key, max_retries=0) as client:
            stream = client.messages.stream(model=cloud.models[0], max_tokens=9, messages=ASK)  # type: ignore[arg-type]
            async with stream as events:
                final = await events.get_final_message()
            counted = await client.messages.count_tokens(model=cloud.models[0], messages=ASK)  # type: ignore[arg-type]
        assert final.stop_reason == "max_tokens"
        assert counted.input_tokens > 0
        asked = cloud.calls("/v1/messages")[0]
        assert asked.header("x-api-key") == KEY
        assert asked.header("authorization") is None
        versions = [value for name, value in asked.headers if name == b"anthropic-version"]
        assert len(versions) == 1
        assert versions != [b"2023-06-01"], "the client's own version passes"


async def test_a_plain_request_for_messages_gets_a_version(node: Node) -> None:
    async with SimulatedCloud("anthropic") as cloud:
        await add(node, "anthropic", cloud.url)
        body = {"model": cloud.models[0], "max_tokens": 3, "messages": ASK}
        answer = await node.http.post("/v1/messages", json=body)
        assert answer.json()["stop_reason"] == "max_tokens"
        assert cloud.requests[-1].header("anthropic-version") == "2023-06-01"


async def test_geminis_own_api_passes_to_gemini(node: Node) -> None:
    async with SimulatedCloud("gemini", speed=2_000) as cloud:
        await add(node, "gemini", cloud.url)
        body = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}
        at = f"/v1beta/models/{cloud.models[0]}"
        whole = await node.http.post(f"{at}:generateContent", json=body)
        assert "Gemini" in whole.json()["candidates"][0]["content"]["parts"][0]["text"]
        streamed = await node.http.post(f"{at}:streamGenerateContent?alt=sse", json=body)
        assert streamed.text.count("data: ") > 10
        asked = cloud.requests[-1]
        assert asked.target == f"{at}:streamGenerateContent?alt=sse"
        assert asked.header("x-goog-api-key") == KEY
        assert KEY not in asked.target


async def test_embeddings_go_where_gemini_has_them(node: Node) -> None:
    async with SimulatedCloud("gemini") as cloud:
        await add(node, "gemini", cloud.url)
        body = {"model": "gemini-embedding-001", "input": "a"}
        assert (await node.http.post("/v1/embeddings", json=body)).is_success
        assert cloud.requests[-1].path == "/v1beta/openai/embeddings"


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
async def test_what_is_left_of_the_limits_is_shown_after_an_answer(node: Node, provider: Provider) -> None:
    async with SimulatedCloud(provider, limit=500) as cloud:
        await add(node, provider, cloud.url)
        assert (await node.chat(cloud.models[0])).is_success
        about = (await node.backend(provider))["about"]
        assert about["Requests left"].startswith("499 of 500, back in 1")


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize(
    ("kind", "code"), [("quota", "quota"), ("region", "region"), ("overloaded", None), ("rate-limit", "rate-limited")]
)  # fmt: skip
async def test_trouble_reaches_the_client_as_it_is_and_the_picture_in_words(
    node: Node, provider: Provider, kind: Trouble, code: str | None
) -> None:
    async with SimulatedCloud(provider) as cloud:
        await add(node, provider, cloud.url)
        cloud.trouble = kind
        refused = await node.chat(cloud.models[0])
        assert refused.status_code >= 400
        assert refused.json()["error"]["message"] or refused.json()[0]["error"]["message"]
        assert len(cloud.calls("/v1")) == 1, "what costs money is not sent twice"
        if code is not None and (provider, kind) != ("gemini", "quota"):  # Gemini has one code for both
            health = (await node.backend(provider))["health"]
            assert health["reason"] == code
            assert health["fix"]


async def test_a_rate_limit_says_when_to_come_back(node: Node) -> None:
    async with SimulatedCloud("openai") as cloud:
        await add(node, "openai", cloud.url)
        cloud.trouble = "rate-limit"
        assert (await node.chat(cloud.models[0])).headers["retry-after"] == "7"


async def test_a_key_that_is_revoked_is_told_at_the_next_request(node: Node) -> None:
    async with SimulatedCloud("gemini") as cloud:
        await add(node, "gemini", cloud.url)
        cloud.revoke()
        refused = await node.chat(cloud.models[0])
        assert refused.status_code in {400, 401}
        health = (await node.backend("gemini"))["health"]
        assert (health["state"], health["reason"]) == ("unhealthy", "unauthorized")
        assert "aistudio.google.com/apikey" in health["fix"]


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
async def test_what_an_account_may_not_do_is_told_to_who_asked_and_condemns_nobody(
    node: Node, provider: Provider
) -> None:
    async with SimulatedCloud(provider) as cloud:
        await add(node, provider, cloud.url)
        cloud.trouble = "no-permission"
        refused = await node.chat(cloud.models[0])
        assert refused.status_code == 403
        assert "permission" in refused.text
        assert (await node.backend(provider))["health"]["state"] == "healthy"
        cloud.trouble = None
        assert (await node.chat(cloud.models[1])).status_code == 200
