"""Models are found by every name they have: ids with unusual characters, `backend/model`, aliases."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import openai
import pytest

from faults.raw import RawBackend, chat
from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node

ODD = [
    "org/model",
    "a/b/c/d",
    "gemma3:4b",
    "model@2024-01-01",
    "100%",
    "a%2Fb",
    "hub/Qwen3 8B+Q4_K_M?x=1#frag&y",
    "모델/한국어",
    "🚀",
    "models",
    ".hidden",
    "C:\\models\\x.gguf",
    'quo"ted',
]


@pytest.fixture
async def two(tmp_path: Path) -> Any:
    config = (
        f"{IN_ORDER}\n[routing.aliases]\n"
        'fast = "org/model"\nfar = "b/only-b"\n"모" = "모델/한국어"\n"100%" = "org/model"\n'
    )
    async with (
        RawBackend("a", [*ODD, "shared"]) as first,
        RawBackend("b", ["only-b", "shared", "org/model"]) as second,
        Node(tmp_path, [first, second], config) as node,
    ):
        yield node, first, second


def asked(backend: RawBackend) -> Any:
    return json.loads(backend.posts[-1].body)["model"]


async def test_every_id_is_routed_and_reaches_its_backend_as_it_is(two: Any) -> None:
    node, first, _ = two
    for model in ODD:
        if model == "100%":
            continue  # an alias of that name goes before it
        for name in (model, f"a/{model}"):
            answer = await node.chat(name)
            assert answer.status_code == 200, (name, answer.text)
            assert answer.headers["x-meshlight-backend"] == "a"
            assert asked(first) == model


@pytest.mark.parametrize(
    ("name", "backend", "model"),
    [
        ("shared", "a", "shared"),
        ("b/shared", "b", "shared"),
        ("a/shared", "a", "shared"),
        ("org/model", "a", "org/model"),
        ("b/org/model", "b", "org/model"),
        ("fast", "a", "org/model"),
        ("far", "b", "only-b"),
        ("모", "a", "모델/한국어"),
        ("100%", "a", "org/model"),
    ],
)
async def test_a_name_says_which_backend_is_meant(two: Any, name: str, backend: str, model: str) -> None:
    node, first, second = two
    answer = await node.chat(name)
    assert answer.headers["x-meshlight-backend"] == backend
    assert asked(first if backend == "a" else second) == model


@pytest.mark.parametrize(
    "name", ["c/shared", "b/x", "shared/", "/shared", "Shared", "b//shared", "fast/x", " shared"]
)
async def test_what_is_no_name_is_404(two: Any, name: str) -> None:
    node, first, second = two
    answer = await node.chat(name)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "model_not_found")
    assert not first.posts
    assert not second.posts


async def test_a_backend_that_is_named_is_the_only_one_tried(two: Any) -> None:
    node, _, second = two
    await second.__aexit__(None, None, None)
    answer = await node.chat("b/shared")
    assert (answer.status_code, answer.headers["x-meshlight-attempts"]) == (503, "1")
    assert (await node.chat("shared")).status_code == 200


async def test_each_model_is_listed_once_under_every_name_but_the_backends(two: Any) -> None:
    node, _, _ = two
    models = (await node.http.get("/v1/models")).json()
    assert models["object"] == "list"
    ids = [model["id"] for model in models["data"]]
    assert sorted(ids) == sorted({*ODD, "shared", "only-b", "fast", "far", "모"})
    by_id = {model["id"]: model for model in models["data"]}
    assert by_id["shared"]["meshlight"]["backends"] == ["a", "b"]
    assert by_id["far"]["meshlight"] == {"backends": ["b"], "alias_of": "b/only-b"}
    assert all(model["object"] == "model" and model["created"] > 0 for model in models["data"])


async def test_one_model_is_looked_up_however_its_name_is_written(two: Any) -> None:
    node, _, _ = two
    for name in [*ODD, "shared", "b/shared", "fast", "far"]:
        answer = await node.http.get(f"/v1/models/{quote(name, safe='')}")
        assert (answer.status_code, answer.json()["id"]) == (200, name)
    for path in ("org/model", "org%2Fmodel", "a/b/c/d", "a/b%2fc/d", "gemma3:4b", "gemma3%3A4b", "a%252Fb"):
        assert (await node.http.get(f"/v1/models/{path}")).status_code == 200
    async with openai.DefaultAsyncHttpxClient(trust_env=False) as web:
        client = openai.AsyncOpenAI(base_url=f"{node.url}/v1", api_key=node.key, http_client=web)
        for name in ODD:
            assert (await client.models.retrieve(name)).id == name
    answer = await node.http.get("/v1/models/org/modell")
    assert answer.status_code == 404
    assert "Did you mean org/model" in answer.json()["error"]["message"]


async def test_a_model_that_came_or_went_is_in_the_list_or_not(two: Any) -> None:
    node, _, second = two
    second.models = ["new"]
    await node.refresh()
    ids = {model["id"] for model in (await node.http.get("/v1/models")).json()["data"]}
    assert "new" in ids
    assert "only-b" not in ids
    assert "far" not in ids  # its alias leads nowhere now
    assert (await node.http.post("/v1/chat/completions", json=chat("new"))).status_code == 200


TAGGED = "nomic-embed-text:latest"
OPERATIONS = [
    ("/v1/embeddings", {"input": "a"}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    ("/v1/messages", {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9}),
    ("/v1/completions", {"prompt": "a"}),
    ("/api/embed", {"input": "a"}),
]


@pytest.mark.parametrize(("path", "fields"), OPERATIONS)
@pytest.mark.parametrize("name", ["nomic-embed-text", TAGGED, "hen/nomic-embed-text", "finder"])
async def test_a_model_of_ollama_is_found_without_its_latest_wherever_it_is_asked_for(
    tmp_path: Path, path: str, fields: dict[str, Any], name: str
) -> None:
    config = '[routing.aliases]\nfinder = "nomic-embed-text"\n'
    async with SimulatedEngine("ollama", "hen", [TAGGED]) as engine, Node(tmp_path, [engine], config) as node:
        answer = await node.http.post(path, json={"model": name, **fields})
        assert answer.status_code == 200, answer.text
        assert json.loads(engine.calls("/")[-1].body)["model"] == TAGGED
        for headers in ({}, {"anthropic-version": "2023-06-01"}):
            assert (await node.http.get(f"/v1/models/{name}", headers=headers)).status_code == 200


async def test_a_model_without_a_tag_is_found_with_latest(tmp_path: Path) -> None:
    async with RawBackend("a", ["plain", "sized:8b"]) as backend, Node(tmp_path, [backend]) as node:
        assert (await node.chat("plain:latest")).status_code == 200
        assert asked(backend) == "plain"
        for wrong in ("sized", "sized:latest", "plain:8b"):
            assert (await node.chat(wrong)).status_code == 404, wrong


@pytest.mark.parametrize("wanted", ["nomic-embed-text", TAGGED, "nomic-*", "*-text"])
async def test_a_rule_holds_for_a_model_with_and_without_latest(tmp_path: Path, wanted: str) -> None:
    rule = f'{IN_ORDER}\n[[routing.rules]]\nmodel = "{wanted}"\npin = ["b"]\n'
    async with (
        SimulatedEngine("ollama", "a", [TAGGED]) as first,
        SimulatedEngine("ollama", "b", [TAGGED]) as second,
        Node(tmp_path, [first, second], rule) as node,
    ):
        for name in ("nomic-embed-text", TAGGED):
            answer = await node.http.post("/v1/embeddings", json={"model": name, "input": "a"})
            assert answer.headers["x-meshlight-backend"] == "b"
