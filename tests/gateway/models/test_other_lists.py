"""The lists of models as Anthropic's and Gemini's clients read them."""

import json
from typing import Any

import pytest
from msgspec.structs import replace

from meshlight.backends.base import Probe
from meshlight.domain.backend import Backend, Kind, ModelDetail
from meshlight.domain.errors import ModelNotFound, NotFound
from meshlight.domain.health import Answered, Health
from meshlight.domain.rules import Routing
from meshlight.domain.snapshot import Node, Snapshot, index
from meshlight.gateway.models.ollama import tags
from meshlight.gateway.models.openai import ModelCatalog
from meshlight.gateway.models.other_lists import (
    anthropic_model,
    anthropic_models,
    gemini_model,
    gemini_models,
)
from meshlight.mesh.registry import Registry

STARTED = 1_700_000_000


def node(name: str, kind: Kind, *models: str, **fields: Any) -> Node:
    backend = Backend(id=name, name=name, kind=kind, ring="machine", url=f"http://{name}", **fields)
    details = {model: ModelDetail(context=8192) for model in models[:1]}
    return Node(backend=backend, health=Health(state="healthy"), models=models, details=details)


def mesh(*nodes: Node, **aliases: str) -> Snapshot:
    by_id = {found.backend.id: found for found in nodes}
    return Snapshot(nodes=by_id, routes=index(by_id), routing=Routing(aliases=aliases))


MESH = mesh(
    node("study", "llamacpp", "llama"),
    node("sky", "gemini", "flash", "pro"),
    node("off", "ollama", "hidden", enabled=False),
    fast="llama",
    nowhere="gone",
)


def test_anthropics_clients_see_every_model_and_alias_that_leads_somewhere() -> None:
    page = json.loads(anthropic_models(MESH, STARTED))

    assert [item["id"] for item in page["data"]] == ["llama", "flash", "pro", "fast"]
    assert page["data"][0] == {
        "type": "model",
        "id": "llama",
        "display_name": "llama",
        "created_at": "2023-11-14T22:13:20Z",
    }
    assert (page["first_id"], page["last_id"], page["has_more"]) == ("llama", "fast", False)
    one = json.loads(anthropic_model(MESH, "fast", STARTED))
    assert (one["id"], one["type"]) == ("fast", "model")


def test_every_list_shows_the_same_names_those_of_a_clusters_services_too() -> None:
    campus = replace(node("campus", "cluster", "qwen"), names={"chat": "qwen"})
    snapshot = mesh(campus, fast="qwen", by_service="campus/chat", nowhere="gone")
    registry = Registry(lambda: 0.0)
    registry.put(campus.backend)
    registry.record_probe("campus", Probe(fact=Answered(), models=campus.models, names=campus.names))
    registry.route_by(snapshot.routing)

    expected = ["qwen", "fast", "by_service", "campus/chat"]
    assert [item["id"] for item in json.loads(anthropic_models(snapshot, STARTED))["data"]] == expected
    assert [item["name"] for item in json.loads(tags(snapshot, STARTED))["models"]] == expected
    assert [item["id"] for item in json.loads(ModelCatalog(registry, STARTED).all())["data"]] == expected
    assert json.loads(anthropic_model(snapshot, "campus/chat", STARTED))["id"] == "campus/chat"


def test_an_alias_of_a_gemini_model_is_listed_as_it_can_be_asked_for() -> None:
    snapshot = mesh(node("sky", "gemini", "flash"), quick="flash")
    listed = [item["name"] for item in json.loads(gemini_models(snapshot))["models"]]

    assert listed == ["models/flash", "models/quick"]
    assert json.loads(gemini_model(snapshot, "quick"))["name"] == "models/quick"


def test_an_empty_mesh_is_an_empty_page() -> None:
    page = json.loads(anthropic_models(mesh(), STARTED))

    assert page == {"data": [], "has_more": False, "first_id": None, "last_id": None}
    assert json.loads(gemini_models(mesh())) == {"models": []}


def test_geminis_clients_see_what_can_be_asked_in_their_protocol() -> None:
    flash, pro = json.loads(gemini_models(MESH))["models"]

    assert flash == {
        "name": "models/flash",
        "displayName": "flash",
        "supportedGenerationMethods": ["generateContent", "countTokens"],
        "inputTokenLimit": 8192,
    }
    assert "inputTokenLimit" not in pro
    assert json.loads(gemini_model(MESH, "flash")) == flash


@pytest.mark.parametrize("name", ["nothing", "nowhere", "hidden", ""])
def test_a_model_that_is_nowhere_is_not_found_in_either_list(name: str) -> None:
    with pytest.raises(ModelNotFound):
        anthropic_model(MESH, name, STARTED)
    with pytest.raises(ModelNotFound):
        gemini_model(MESH, name)


def test_a_model_that_is_none_of_geminis_says_where_to_ask_for_it() -> None:
    with pytest.raises(NotFound, match="llama") as caught:
        gemini_model(MESH, "llama")
    assert "/v1/chat/completions" in caught.value.hint


def test_the_models_of_a_peer_are_not_said_to_be_geminis() -> None:
    found = mesh(node("sky", "gemini", "flash"), node("cellar", "peer", "flash", "llama"))
    listed = json.loads(gemini_models(found))["models"]
    assert [model["displayName"] for model in listed] == ["flash"]


def test_a_model_that_only_embeds_is_not_offered_for_generating() -> None:
    details = {"vectors": ModelDetail(capabilities=("embeddings",))}
    cloud = replace(node("sky", "gemini", "vectors"), details=details)
    listed = json.loads(gemini_models(mesh(cloud)))["models"]
    assert listed[0]["supportedGenerationMethods"] == ["embedContent"]
