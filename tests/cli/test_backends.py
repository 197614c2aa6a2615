import json
from collections.abc import Callable
from typing import Any

import pytest

from api_client.local_api import LocalApi
from desktop.samples import backend, scenario
from meshlight.domain.api_types import BackendView

Type = Callable[..., Any]
SECRET = "sk-a-secret-of-the-test"


def checked(view: BackendView, **fields: Any) -> dict[str, Any]:
    """The answer to a check that went well."""
    usual = {"ok": True, "text": "", "fix": "", "health": view.health, "latency_ms": 1.0, "models": []}
    return usual | fields


@pytest.fixture
def listed(api: LocalApi) -> LocalApi:
    api.says("GET", "/mesh/backends", {"backends": scenario().backends})
    return api


def test_the_list_shows_what_to_call_each_backend(listed: LocalApi, type_words: Type) -> None:
    said = type_words("backends", "list")
    assert said.lines[0].split() == ["STATE", "ID", "NAME", "KIND", "URL"]
    assert "● healthy    ollama-11434  Ollama" in said.out
    assert max(map(len, said.lines)) <= 80
    assert json.loads(type_words("backends", "list", "--json").out)[1]["id"] == "ollama-11434"
    listed.says("GET", "/mesh/backends", {"backends": []})
    assert "meshlight backends add" in type_words("backends", "list").out


@pytest.mark.usefixtures("listed")
def test_one_backend_is_shown_in_full_by_id_or_name_in_any_case(type_words: Type) -> None:
    for named in ("big-box", "Big box", "big BOX"):
        said = type_words("backends", "show", named)
        assert "state       ✖ unhealthy for 3 min" in said.lines
        assert "fix         Start it with `vllm serve MODEL`, or check its port." in said.lines
    assert json.loads(type_words("backends", "show", "mlx", "--json").out)["kind"] == "mlx"


@pytest.mark.usefixtures("listed")
def test_a_name_mistyped_gets_the_one_that_was_meant(type_words: Type) -> None:
    said = type_words("backends", "show", "Olama")
    assert (said.code, said.err) == (1, "Error: No backend is called 'Olama'.\nDid you mean Ollama?\n")


def test_a_name_that_two_backends_have_asks_for_the_id(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/backends", {"backends": [backend("a", name="box"), backend("b", name="box")]})
    said = type_words("backends", "check", "box")
    assert said.code == 1
    assert "Name one by its id: a, b." in said.err


def test_adding_tells_the_state_and_the_models(api: LocalApi, type_words: Type) -> None:
    api.says("POST", "/mesh/backends", backend("x", name="Ollama here"))
    said = type_words(
        "backends", "add", "ollama", "http://127.0.0.1:11434", "--name", "Ollama here", "--ring", "lan"
    )
    assert (said.code, said.out) == (0, "● Added: Ollama here (healthy, 1 model).\n")
    assert api.asked[-1].body == {
        "kind": "ollama",
        "url": "http://127.0.0.1:11434",
        "name": "Ollama here",
        "ring": "lan",
    }


def test_what_is_not_known_yet_of_a_new_backend_is_looked_at_once_more(
    api: LocalApi, type_words: Type
) -> None:
    api.says("POST", "/mesh/backends", backend("x", state="unknown", models=()))
    api.says("POST", "/mesh/backends/x/check", checked(backend("x"), models=["a", "b"]))
    said = type_words("backends", "add", "ollama", "http://127.0.0.1:11434")
    assert said.out == "● Added: x (healthy, 2 models).\n"


def test_models_and_a_proxy_are_sent_as_they_are_named(api: LocalApi, type_words: Type) -> None:
    api.says("POST", "/mesh/backends", backend("x"))
    said = type_words(
        "backends", "add", "openai-compatible", "http://x", "--model", "a", "--model", "b", "--proxy", "env"
    )
    assert said.code == 0
    sent = api.asked[-1].body
    assert (sent["models"], sent["proxy"]) == (["a", "b"], "env")


def test_adding_one_that_is_off_or_down_says_so(api: LocalApi, type_words: Type) -> None:
    api.says("POST", "/mesh/backends", backend("x", enabled=False), backend("x", state="unhealthy"))
    said = type_words("backends", "add", "vllm", "http://x", "--disabled")
    assert said.out == "- Added: x.\n"
    assert api.asked[-1].body["enabled"] is False
    said = type_words("backends", "add", "vllm", "http://x", "--save-anyway")
    assert said.lines[0].startswith("✖ Added: x (unhealthy): Connection refused")
    assert api.asked[-1].body["save_anyway"] is True


def test_a_backend_that_does_not_answer_is_not_added_and_the_ways_on_are_named(
    api: LocalApi, type_words: Type
) -> None:
    api.fails("POST", "/mesh/backends", 422, "check_failed", "Connection refused at x:80.", "Start it.")
    said = type_words("backends", "add", "vllm", "http://x")
    assert said.code == 1
    assert said.err == ("Error: Connection refused at x:80.\nStart it. To add it anyway: --save-anyway.\n")


def test_a_key_comes_by_standard_input_or_a_hidden_prompt_and_is_never_shown(
    api: LocalApi, type_words: Type
) -> None:
    api.says("POST", "/mesh/backends", backend("x"))
    for option in ("--key-stdin", "--key"):
        said = type_words("backends", "add", "vllm", "http://x", option, given=f"{SECRET}\n")
        assert said.code == 0
        assert api.asked[-1].body["api_key"] == SECRET
        assert SECRET not in said.out + said.err


def test_no_key_where_one_was_promised_is_said_before_anything_is_sent(
    api: LocalApi, type_words: Type
) -> None:
    said = type_words("backends", "add", "vllm", "http://x", "--key-stdin", given="\n")
    assert (said.code, said.err.splitlines()[0]) == (1, "Error: Standard input has no key.")
    said = type_words("backends", "add", "vllm", "http://x", "--key-stdin", "--key", given="\n")
    assert said.err.startswith("Error: --key and --key-stdin can't be combined.")
    assert {one.path for one in api.asked} == {"/healthz"}


def test_a_key_cannot_be_given_as_an_argument(type_words: Type) -> None:
    said = type_words("backends", "add", "vllm", "http://x", "--key", SECRET)
    assert said.code == 2
    assert "unexpected extra argument" in said.err


def test_an_unknown_kind_is_answered_with_those_there_are(type_words: Type) -> None:
    said = type_words("backends", "add", "olama", "http://x")
    assert said.code == 2
    assert "'llamacpp', 'ollama', 'vllm'" in said.err


def test_removing_says_what_is_gone(listed: LocalApi, type_words: Type) -> None:
    listed.says("DELETE", "/mesh/backends/big-box", None, status=204)
    listed.says("DELETE", "/mesh/backends/mlx", None, status=204)
    said = type_words("backends", "remove", "Big box", "mlx")
    assert (said.code, said.out) == (0, "Removed Big box.\nRemoved MLX.\n")


def test_one_wrong_name_among_several_removes_nothing(listed: LocalApi, type_words: Type) -> None:
    assert type_words("backends", "remove", "Big box", "nobody").code == 1
    assert not [one for one in listed.asked if one.method == "DELETE"]


def test_a_check_tells_for_each_backend_that_is_on_how_it_is(listed: LocalApi, type_words: Type) -> None:
    for one in scenario().backends:
        listed.says(
            "POST",
            f"/mesh/backends/{one.id}/check",
            {
                "ok": one.health.state == "healthy",
                "text": "Connection refused.",
                "fix": "Start it.",
                "health": one.health,
                "latency_ms": one.latency_ms,
                "models": one.models[:2],
            },
        )
    said = type_words("backends", "check")
    assert said.code == 1
    assert "✓ llama.cpp answers (0.8 ms, 1 model)." in said.lines
    assert "✗ Big box: Connection refused." in said.lines
    assert "  Fix: Start it." in said.lines
    assert "LM Studio" not in said.out
    assert type_words("backends", "check", "ollama").code == 0


def test_a_check_says_what_it_could_not_check(listed: LocalApi, type_words: Type) -> None:
    one = next(backend for backend in scenario().backends if backend.health.state == "healthy")
    listed.says(
        "POST",
        f"/mesh/backends/{one.id}/check",
        checked(one, note="Services were not checked."),
    )
    shown = type_words("backends", "check", one.id)
    assert f"! {one.name}: Services were not checked." in shown.lines
    assert shown.code == 0


def test_switching_says_the_new_state(listed: LocalApi, type_words: Type) -> None:
    listed.says("POST", "/mesh/backends/mlx/disable", backend("mlx", name="MLX", enabled=False))
    listed.says("POST", "/mesh/backends/mlx/enable", backend("mlx", name="MLX", state="unknown"))
    assert type_words("backends", "disable", "mlx").out == "- Disabled: MLX.\n"
    assert type_words("backends", "enable", "mlx").out == "○ Enabled: MLX (unknown, 1 model).\n"
