"""Every kind of backend: added as a person adds it, listed, used in three protocols, and refused with a message."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from clients.rig import add
from clients.stand_ins import Played, joined, playing
from meshlight.backends.base import NOT_ADDED
from meshlight.backends.kinds import KINDS
from node import Node
from real.engines import Engine, free_port, running_llama
from real.tiny_gguf import answer_of, write_gguf

REAL = ("llamacpp", "mlx")
PLAYED = (
    "ollama",
    "vllm",
    "lmstudio",
    "openai-compatible",
    "continuum",
    "cluster",
    "openai",
    "anthropic",
    "gemini",
)
ADDED = [kind for kind, known in KINDS.items() if known.group not in NOT_ADDED]
"""The others are not added by an address: tests/peers, tests/local_models."""
EVERY = [*(pytest.param(kind, marks=pytest.mark.real) for kind in REAL), *PLAYED]
KEY = "sk-of-a-llama"
LIMITS: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"max_tokens": 40},
    "/v1/messages": {"max_tokens": 40},
    "/api/chat": {"options": {"num_predict": 40, "temperature": 0}},
}
"""The path of each protocol, and its field for at most 40 tokens."""
ASK = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def locked_llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A real llama-server that requires a key."""
    model_file = write_gguf(tmp_path_factory.mktemp("locked") / "tiny-a.gguf", "tiny-a")
    with running_llama(model_file, "tiny-a", key=KEY, threads=1) as engine:
        yield engine


@asynccontextmanager
async def running(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Played]:
    """Run a server of a kind: the real one if there is one."""
    if kind in PLAYED:
        async with playing(kind) as played:
            yield played
        return
    engine: Engine = request.getfixturevalue("locked_llama" if kind == "llamacpp" else "mlx")
    yield Played(engine.url, engine.model, {"api_key": KEY} if kind == "llamacpp" else {})


@pytest.fixture
async def played(kind: str, request: pytest.FixtureRequest) -> AsyncIterator[Played]:
    async with running(kind, request) as played:
        yield played


def test_no_kind_is_left_out() -> None:
    assert set(ADDED) == {*REAL, *PLAYED}


@pytest.mark.parametrize("kind", EVERY)
async def test_it_is_added_by_its_address_and_key_and_then_healthy_with_its_models(
    kind: str, played: Played, node: Node
) -> None:
    shown = await joined(node, kind, played)
    snapshot = (await node.http.get("/mesh/snapshot")).json()
    (backend,) = snapshot["backends"]
    assert (backend["id"], backend["kind"], backend["health"]["state"]) == (kind, kind, "healthy")
    assert (snapshot["light"], shown["latency_ms"] is None) == ("green", False)
    assert played.model in backend["models"]
    listed = (await node.http.get("/v1/models")).json()["data"]
    assert {model["id"]: model["meshlight"]["backends"] for model in listed}[played.model] == [kind]
    if secret := played.fields.get("api_key"):
        assert secret not in json.dumps(snapshot) + node.config_file.read_text("utf-8")


@pytest.mark.parametrize("kind", EVERY)
async def test_it_answers_in_the_protocols_of_openai_anthropic_and_ollama(
    kind: str, played: Played, node: Node
) -> None:
    await joined(node, kind, played)
    body = {"model": played.model, "messages": ASK, "stream": True}
    texts = {}
    for path, limit in LIMITS.items():
        async with node.http.stream("POST", path, json=body | limit) as answer:
            lines = [line async for line in answer.aiter_lines() if line]
        assert answer.status_code == 200, lines
        assert answer.headers["x-meshlight-backend"] == kind
        told = [json.loads(line.removeprefix("data: ")) for line in lines if "{" in line[:7]]
        pieces = [piece for event in told for piece in text_of(event)]
        assert len(pieces) > 5, "the answer came in one lump"
        texts[path] = "".join(pieces)
    assert len(set(texts.values())) == 1, texts
    if kind == "llamacpp":
        assert texts["/api/chat"] == answer_of(played.model)


@pytest.mark.parametrize("kind", [kind for kind in ADDED if kind != "mlx"])
async def test_a_wrong_key_is_refused_in_words_and_nothing_is_saved(
    kind: str, played: Played, node: Node
) -> None:
    refused = await add(node, kind, played.url, **{**played.fields, "api_key": "not-the-key"})
    error = refused.json()["error"]
    assert refused.status_code == 422
    assert ("secret key is wrong" if kind == "cluster" else "refuses the API key") in error["message"]
    assert error["param"] == "api_key"
    assert "not-the-key" not in refused.text
    assert (await node.http.get("/mesh/backends")).json()["backends"] == []


@pytest.mark.parametrize("kind", ADDED)
async def test_an_address_where_nothing_listens_is_told_with_what_to_do(node: Node, kind: str) -> None:
    port = free_port()
    fields = {"access_key": "AKIA", "api_key": "secret"} if kind == "cluster" else {"api_key": "secret"}
    refused = await add(node, kind, f"http://127.0.0.1:{port}", **fields)
    error = refused.json()["error"]
    assert refused.status_code == 422
    assert f"127.0.0.1:{port}" in error["message"]
    assert "refused" in error["message"]
    assert error["hint"]
    assert (await node.http.get("/mesh/backends")).json()["backends"] == []


def text_of(event: dict[str, Any]) -> list[str]:
    """Return the text in one event of a stream of any of the three protocols."""
    said = [choice.get("delta", {}).get("content") for choice in event.get("choices") or ()]
    said.append((event.get("delta") or {}).get("text"))
    said.append((event.get("message") or {}).get("content"))
    return [text for text in said if isinstance(text, str) and text]
