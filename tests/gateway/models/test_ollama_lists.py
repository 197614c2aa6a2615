"""Ollama's clients see all models of the mesh, and only known facts about each."""

import json
from typing import Any

import pytest
from ollama import ListResponse, ProcessResponse, ShowResponse

from meshlight.domain.backend import Backend, Kind, ModelDetail
from meshlight.domain.errors import ModelNotFound
from meshlight.domain.local_models import LOCAL_ID
from meshlight.domain.routing import resolve
from meshlight.domain.rules import Routing
from meshlight.domain.snapshot import Node, Snapshot, index
from meshlight.gateway.models.ollama import REFUSED, running, show, tags, version

STARTED = 1_700_000_000
LLAMA = ModelDetail(
    context=8192,
    loaded=True,
    quantization="Q4_K_M",
    parameters="8B",
    capabilities=("chat", "completion", "tools", "rerank"),
)


def node(
    backend: str, models: dict[str, ModelDetail | None], kind: Kind = "llamacpp", *, enabled: bool = True
) -> Node:
    details = {model: detail for model, detail in models.items() if detail is not None}
    made = Backend(
        id=backend, kind=kind, name=backend, url="http://127.0.0.1:1", ring="machine", enabled=enabled
    )
    return Node(backend=made, models=tuple(models), details=details)


@pytest.fixture
def mesh() -> Snapshot:
    nodes = {
        "a": node("a", {"llama3": LLAMA, "mystery": None}),
        "b": node(
            "b", {"llama3": ModelDetail(context=4096, loaded=False), "bge:latest": ModelDetail(loaded=False)}
        ),
        "off": node("off", {"hidden": LLAMA}, enabled=False),
    }
    routing = Routing(aliases={"fast": "llama3", "gone": "nowhere"})
    return Snapshot(nodes=nodes, routes=index(nodes), routing=routing)


def models(data: bytes) -> dict[str, dict[str, Any]]:
    return {model["name"]: model for model in json.loads(data)["models"]}


def test_every_model_is_listed_once_and_aliases_too(mesh: Snapshot) -> None:
    found = models(tags(mesh, STARTED))
    assert list(found) == ["llama3", "mystery", "bge:latest", "fast"]
    assert found["llama3"] | {"digest": ""} == {
        "name": "llama3",
        "model": "llama3",
        "modified_at": "2023-11-14T22:13:20Z",
        "size": 0,
        "digest": "",
        "details": {
            "parent_model": "",
            "format": "",
            "family": "",
            "families": None,
            "parameter_size": "8B",
            "quantization_level": "Q4_K_M",
        },
        "capabilities": ["completion", "tools"],
    }
    assert len(found["llama3"]["digest"]) == 64
    assert found["fast"]["digest"] == found["llama3"]["digest"] != found["mystery"]["digest"]
    assert "capabilities" not in found["mystery"]


def test_what_is_in_memory_is_told_as_far_as_backends_say(mesh: Snapshot) -> None:
    found = models(running(mesh))
    assert list(found) == ["llama3"]
    assert found["llama3"]["context_length"] == 4096
    assert not {"expires_at", "size_vram"} & found["llama3"].keys()


def test_a_model_of_this_machine_is_in_memory_when_it_says_so_itself() -> None:
    nodes = {LOCAL_ID: node(LOCAL_ID, {"smol": LLAMA}, "local")}
    told = Snapshot(nodes=nodes, routes=index(nodes))
    assert models(running(told)) == {}, "it was unloaded a moment ago"
    assert models(running(told, {"smol": {"size": 5}}))["smol"]["size"] == 5


def test_a_model_is_shown_with_the_smallest_context_that_it_may_meet(mesh: Snapshot) -> None:
    found = json.loads(show(mesh, "fast", STARTED))
    assert found["model_info"] == {
        "general.architecture": "unknown",
        "general.basename": "llama3",
        "unknown.context_length": 4096,
    }
    assert found["capabilities"] == ["completion", "tools"]
    assert json.loads(show(mesh, "a/llama3", STARTED))["model_info"]["unknown.context_length"] == 8192
    assert json.loads(show(mesh, "mystery", STARTED))["capabilities"] == ["completion", "tools"]
    with pytest.raises(ModelNotFound):
        show(mesh, "hidden", STARTED)


@pytest.mark.parametrize(
    ("kind", "answer", "shown"),
    [
        ("vllm", None, ["completion", "tools"]),
        ("mlx", (), ["completion", "tools"]),
        ("openai-compatible", (), ["completion", "tools"]),
        ("anthropic", ("chat", "vision"), ["completion", "vision", "tools"]),
        ("gemini", ("chat",), ["completion", "tools"]),
        ("gemini", ("embeddings",), ["embedding"]),
        ("llamacpp", ("completion", "tools"), ["completion", "tools"]),
        ("llamacpp", ("completion",), ["completion"]),
        ("lmstudio", ("embeddings",), ["embedding"]),
        ("ollama", ("completion", "vision"), ["completion", "vision"]),
        ("vllm", ("rerank",), []),
    ],
)
def test_a_model_calls_tools_unless_somebody_who_knows_says_no(
    kind: Kind, answer: tuple[str, ...] | None, shown: list[str]
) -> None:
    nodes = {"a": node("a", {"m": None if answer is None else ModelDetail(capabilities=answer)}, kind)}
    observed = Snapshot(nodes=nodes, routes=index(nodes))
    assert json.loads(show(observed, "m", STARTED))["capabilities"] == shown


def test_ollamas_own_client_reads_them(mesh: Snapshot) -> None:
    listed = ListResponse.model_validate_json(tags(mesh, STARTED)).models
    assert [model.model for model in listed] == ["llama3", "mystery", "bge:latest", "fast"]
    assert listed[0].details is not None
    assert listed[0].details.parameter_size == "8B"
    assert ProcessResponse.model_validate_json(running(mesh)).models[0].context_length == 4096
    shown = ShowResponse.model_validate_json(show(mesh, "llama3", STARTED))
    assert shown.capabilities == ["completion", "tools"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("llama3", "llama3"),
        ("llama3:latest", "llama3"),
        ("a/llama3:latest", "llama3"),
        ("fast:latest", "llama3"),
        ("bge", "bge:latest"),
        ("bge:latest", "bge:latest"),
        ("nobody:latest", "nobody:latest"),
        ("llama3:8b", "llama3:8b"),
    ],
)
def test_a_tag_is_added_or_left_out_to_find_a_model(mesh: Snapshot, name: str, meant: str) -> None:
    model, backends = resolve(mesh, name)
    assert (model, bool(backends)) == (meant, meant in mesh.routes)


def test_an_empty_mesh_has_empty_lists() -> None:
    assert tags(Snapshot(), STARTED) == running(Snapshot()) == b'{"models":[]}'


def test_clients_learn_which_ollama_this_equals_and_what_it_is() -> None:
    assert json.loads(version("1.2.3")) == {"version": "0.13.0", "meshlight": "1.2.3"}


def test_what_is_refused_says_where_to_do_it() -> None:
    assert set(REFUSED) == {"pull", "push", "create", "copy", "delete", "blobs"}
    assert all("Meshlight" in sentence and sentence.endswith(".") for sentence in REFUSED.values())
