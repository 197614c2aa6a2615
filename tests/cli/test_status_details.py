"""What engines tell of themselves and their models, where people look."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from api_client.local_api import LocalApi
from desktop.samples import backend, mesh
from meshlight.domain.backend import ModelDetail

Type = Callable[..., Any]
WARNING = "big-cloud runs in Ollama's cloud: what is sent to such a model leaves that machine."
SMALL = ModelDetail(context=8192, loaded=True, quantization="Q4_K_M", capabilities=("chat", "tools"))


@pytest.fixture
def told(api: LocalApi) -> LocalApi:
    ollama = backend(
        "ollama",
        models=("qwen3:4b", "big-cloud"),
        details={"qwen3:4b": SMALL},
        about={"Version": "0.12.6", "Loaded": "1 of 2 models, 2.0 GB"},
        warnings=(WARNING,),
    )
    lms = backend("lms", models=("qwen3:4b",), details={"qwen3:4b": ModelDetail(loaded=False)})
    view = mesh(ollama, lms)
    api.says("GET", "/mesh/snapshot", view)
    api.says("GET", "/mesh/backends", {"backends": view.backends})
    return api


def test_models_are_listed_with_what_is_known_of_them(
    told: LocalApi, type_words: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    del told
    monkeypatch.setenv("COLUMNS", "100")
    lines = [line.split() for line in type_words("models").lines]
    assert lines[0] == ["MODEL", "RING", "CONTEXT", "QUANT", "STATE", "BACKENDS"]
    assert lines[1] == ["big-cloud", "machine", "●", "ollama"]
    assert lines[2] == ["qwen3:4b", "machine", "8k", "Q4_K_M", "on", "some", "●", "ollama,", "●", "lms"]


def test_a_column_of_which_nobody_tells_anything_is_left_out(api: LocalApi, type_words: Type) -> None:
    detail = ModelDetail(context=4096)
    api.says("GET", "/mesh/snapshot", mesh(backend("b", models=("m",), details={"m": detail})))
    assert type_words("models").lines[0].split() == ["MODEL", "RING", "CONTEXT", "BACKENDS"]


def test_a_narrow_terminal_keeps_names_and_backends(
    told: LocalApi, type_words: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    del told
    monkeypatch.setenv("COLUMNS", "44")
    lines = type_words("models").lines
    assert lines[0].split()[0] == "MODEL"
    assert lines[0].split()[-1] == "BACKENDS"
    assert max(map(len, lines)) <= 44


def test_the_json_has_what_each_backend_tells(told: LocalApi, type_words: Type) -> None:
    del told
    model = json.loads(type_words("models", "--json").out)[0]
    assert model["id"] == "qwen3:4b"
    assert model["details"] == {
        "ollama": {
            "context": 8192,
            "loaded": True,
            "quantization": "Q4_K_M",
            "capabilities": ["chat", "tools"],
        },
        "lms": {"loaded": False},
    }


def test_one_backend_in_full_has_its_version_its_models_and_what_to_look_at(
    told: LocalApi, type_words: Type
) -> None:
    del told
    said = type_words("backends", "show", "ollama")
    assert any(line.split() == ["version", "0.12.6"] for line in said.lines)
    assert any(line.endswith("qwen3:4b  8k context · Q4_K_M · loaded · tools") for line in said.lines)
    assert "! big-cloud runs in Ollama's cloud" in said.out


def test_the_status_warns_of_what_works_and_yet_should_be_looked_at(told: LocalApi, type_words: Type) -> None:
    del told
    said = type_words("status")
    assert said.code == 0
    assert "! ollama: big-cloud runs in Ollama's cloud" in said.out


def test_what_is_switched_off_warns_of_nothing(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/snapshot", mesh(backend("b", enabled=False, warnings=(WARNING,))))
    assert "cloud" not in type_words("status").out
