"""The list of models is encoded once per change, however many requests read it."""

import json
from typing import Any

import pytest

from fake_clock import Clock, backend
from meshlight.domain.backend import Reason
from meshlight.domain.errors import MeshlightError, ModelNotFound
from meshlight.domain.health import Answered, Failed
from meshlight.domain.rules import Routing
from meshlight.gateway.models.openai import ModelCatalog
from meshlight.mesh.registry import Registry


@pytest.fixture
def registry() -> Registry:
    made = Registry(Clock())
    for name, models in (("a", ("m", "org/n")), ("b", ("m",))):
        made.put(backend(name))
        made.record_fact(name, Answered(0.01), models)
    return made


def ids(catalog: ModelCatalog) -> list[str]:
    return [model["id"] for model in json.loads(catalog.all())["data"]]


def test_it_is_encoded_once_and_anew_when_the_models_change(registry: Registry) -> None:
    catalog = ModelCatalog(registry, 7)
    first = catalog.all()
    registry.record_fact("a", Failed(Reason("refused", "Refused.")))
    registry.record_fact("a", Answered(0.02))
    assert catalog.all() is first
    registry.record_fact("b", Answered(0.01), ("m", "new"))
    assert ids(catalog) == ["m", "org/n", "new"]
    registry.remove("b")
    assert ids(catalog) == ["m", "org/n"]


def test_aliases_are_listed_where_they_lead_somewhere(registry: Registry) -> None:
    catalog = ModelCatalog(registry, 7)
    catalog.all()
    registry.route_by(Routing(aliases={"x": "m", "y": "b/m", "z": "nowhere", "m": "org/n"}))
    catalog.invalidate()
    listed: dict[str, Any] = {model["id"]: model["meshlight"] for model in json.loads(catalog.all())["data"]}
    assert listed == {
        "m": {"backends": ["a"], "alias_of": "org/n"},
        "org/n": {"backends": ["a"], "alias_of": None},
        "x": {"backends": ["a", "b"], "alias_of": "m"},
        "y": {"backends": ["b"], "alias_of": "b/m"},
    }
    for name, place in listed.items():
        assert json.loads(catalog.one(name))["meshlight"] == place


def test_one_model_is_found_by_any_name_and_has_openais_fields(registry: Registry) -> None:
    catalog = ModelCatalog(registry, 7)
    assert json.loads(catalog.one("b/m")) == {
        "id": "b/m",
        "object": "model",
        "created": 7,
        "owned_by": "llamacpp",
        "meshlight": {"backends": ["b"], "alias_of": None},
    }


@pytest.mark.parametrize("name", ["", "zzz", "c/m", "\ud83d"])
def test_a_name_that_nobody_has_is_no_model(registry: Registry, name: str) -> None:
    with pytest.raises(ModelNotFound):
        ModelCatalog(registry, 7).one(name)


def test_the_models_of_a_backend_that_is_off_are_not_listed(registry: Registry) -> None:
    registry.put(backend("a", enabled=False))
    catalog = ModelCatalog(registry, 7)
    assert ids(catalog) == ["m"]
    with pytest.raises(MeshlightError, match="No backend serves"):
        catalog.one("a/org/n")
