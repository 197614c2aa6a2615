"""The stand-ins of the clouds are as strict as the clouds: the right key in the right header, or none of it."""

import anthropic
import httpx
import pytest

from meshlight.simulator.clouds.base import KEY, Provider, SimulatedCloud
from meshlight.simulator.clouds.errors import RETRY_S, Trouble

ASK = [{"role": "user", "content": "hello"}]
VERSION = {"anthropic-version": "2023-06-01"}
CONTENTS = {"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}


@pytest.mark.parametrize(
    ("provider", "path", "headers"),
    [
        ("openai", "/v1/models", {"authorization": f"Bearer {KEY}"}),
        ("anthropic", "/v1/models", {"x-api-key": KEY, **VERSION}),
        ("gemini", "/v1beta/models", {"x-goog-api-key": KEY}),
    ],
)
async def test_only_the_right_key_in_the_right_header_opens(
    http: httpx.AsyncClient, provider: Provider, path: str, headers: dict[str, str]
) -> None:
    async with SimulatedCloud(provider) as cloud:
        assert (await http.get(cloud.url + path, headers=headers)).status_code == 200
        for wrong in ({}, {name: value + "x" for name, value in headers.items()}, {"api-key": KEY}):
            refused = await http.get(cloud.url + path, headers=wrong)
            assert refused.status_code in {400, 401, 403}
            assert "error" in refused.json()


async def test_anthropic_wants_a_version_and_max_tokens(http: httpx.AsyncClient) -> None:
    body = {"model": "claude-haiku-4-5", "messages": ASK}
    async with SimulatedCloud("anthropic") as cloud:
        no_version = await http.post(f"{cloud.url}/v1/messages", json=body, headers={"x-api-key": KEY})
        no_limit = await http.post(
            f"{cloud.url}/v1/messages", json=body, headers={"x-api-key": KEY, **VERSION}
        )
    assert (no_version.status_code, no_limit.status_code) == (400, 400)
    assert "anthropic-version" in no_version.json()["error"]["message"]
    assert "max_tokens" in no_limit.json()["error"]["message"]


async def test_anthropics_own_client_reads_it() -> None:
    cloud = SimulatedCloud("anthropic", models=[f"claude-{n}" for n in range(45)])
    await cloud.start()
    async with anthropic.AsyncAnthropic(base_url=cloud.url, api_key=KEY, max_retries=0) as client:
        await ask_all(client, cloud)
    await cloud.stop()


async def ask_all(client: anthropic.AsyncAnthropic, cloud: SimulatedCloud) -> None:
    listed = [model.id async for model in client.models.list()]
    assert listed == list(cloud.models)
    assert len(cloud.requests) == 3
    counted = await client.messages.count_tokens(model="claude-1", messages=ASK)  # type: ignore[arg-type]
    assert counted.input_tokens > 0
    async with client.messages.stream(model="claude-1", max_tokens=9, messages=ASK) as stream:  # type: ignore[arg-type]
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert text == final.content[0].text  # type: ignore[union-attr]
    assert (final.stop_reason, final.usage.output_tokens) == ("max_tokens", 9)
    with pytest.raises(anthropic.NotFoundError):
        await client.messages.create(model="claude-99", max_tokens=9, messages=ASK)  # type: ignore[arg-type]


async def test_gemini_answers_whole_as_events_and_with_vectors(http: httpx.AsyncClient) -> None:
    headers = {"x-goog-api-key": KEY}
    async with SimulatedCloud("gemini") as cloud:
        at = f"{cloud.url}/v1beta/models"
        whole = (
            await http.post(f"{at}/gemini-3-flash:generateContent", json=CONTENTS, headers=headers)
        ).json()
        events = await http.post(
            f"{at}/gemini-3-flash:streamGenerateContent?alt=sse", json=CONTENTS, headers=headers
        )
        listed = await http.post(f"{at}/gemini-3-flash:streamGenerateContent", json=CONTENTS, headers=headers)
        count = await http.post(f"{at}/gemini-3-flash:countTokens", json=CONTENTS, headers=headers)
        content = {"content": {"parts": [{"text": "a"}]}}
        one = await http.post(f"{at}/gemini-embedding-001:embedContent", json=content, headers=headers)
        many = await http.post(
            f"{at}/gemini-embedding-001:batchEmbedContents", json={"requests": [content]}, headers=headers
        )
        missing = await http.post(f"{at}/nobody:generateContent", json=CONTENTS, headers=headers)
        bad = await http.post(f"{at}/gemini-3-flash:generateContent", json={}, headers=headers)
    assert "Gemini" in whole["candidates"][0]["content"]["parts"][0]["text"]
    assert events.text.startswith("data: {")
    assert len(listed.json()) > 1
    assert count.json()["totalTokens"] > 0
    assert many.json()["embeddings"] == [one.json()["embedding"]]
    assert (missing.status_code, bad.status_code) == (404, 400)


async def test_geminis_list_comes_in_pages(http: httpx.AsyncClient) -> None:
    async with SimulatedCloud("gemini", models=["a", "b", "c"]) as cloud:
        logged: list[str] = []
        token = ""
        while True:
            params = {"pageSize": "2", **({"pageToken": token} if token else {})}
            page = await http.get(
                f"{cloud.url}/v1beta/models", params=params, headers={"x-goog-api-key": KEY}
            )
            logged += [model["name"] for model in page.json()["models"]]
            token = page.json().get("nextPageToken", "")
            if not token:
                break
    assert logged == ["models/a", "models/b", "models/c"]


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
async def test_its_openai_face_wants_a_bearer_token(http: httpx.AsyncClient, provider: Provider) -> None:
    path = {"anthropic": "/v1/chat/completions", "gemini": "/v1beta/openai/chat/completions"}[provider]
    async with SimulatedCloud(provider) as cloud:
        body = {"model": cloud.models[0], "messages": ASK}
        good = await http.post(cloud.url + path, json=body, headers={"authorization": f"Bearer {KEY}"})
        bad = await http.post(cloud.url + path, json=body, headers={"authorization": "Bearer x"})
    assert good.json()["choices"][0]["message"]["content"]
    assert bad.status_code in {400, 401}
    assert isinstance(bad.json(), list) == (provider == "gemini")


async def test_each_answer_tells_what_is_left(http: httpx.AsyncClient) -> None:
    async with SimulatedCloud("openai", limit=2) as cloud:
        body = {"model": "gpt-5-mini", "messages": ASK}
        left = [
            (
                await http.post(
                    f"{cloud.url}/v1/chat/completions",
                    json=body,
                    headers={"authorization": f"Bearer {KEY}"},
                )
            ).headers["x-ratelimit-remaining-requests"]
            for _ in range(3)
        ]
    assert left == ["1", "0", "0"]


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("kind", ["quota", "rate-limit", "region", "overloaded", "no-permission"])
async def test_trouble_comes_with_the_providers_status(
    http: httpx.AsyncClient, provider: Provider, kind: Trouble
) -> None:
    async with SimulatedCloud(provider) as cloud:
        cloud.trouble = kind
        reply = await http.post(f"{cloud.url}/v1/anything", json={})
    assert reply.status_code >= 400
    assert reply.json()["error"]["message"]
    has_header = kind == "rate-limit" and provider != "gemini"
    assert reply.headers.get("retry-after") == (str(RETRY_S) if has_header else None)
