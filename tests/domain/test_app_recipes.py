"""Each app gets a text that holds address, key and model, in a form that its own parser reads."""

import ast
import json
import tomllib

import pytest
from msgspec.structs import replace

from meshlight.domain.app_recipes import (
    Access,
    anthropic_variables,
    arguments_for,
    recipe_for,
    settings_for,
    variables_for,
)
from meshlight.domain.client_apps import APPS
from meshlight.domain.shell_lines import Shell

KEY = "ml-the-local-key"
NASTY = 'it\'s "a" \\ model'
ACCESS = Access(url="http://127.0.0.1:6374", key=KEY, model="qwen3-32b", context=65_536)
KEY_APART = {"zed", "vscode"}
"""These take the key in a dialog of their own."""


@pytest.mark.parametrize("shell", ["sh", "fish", "powershell", "cmd"])
@pytest.mark.parametrize("app", APPS)
def test_every_text_has_address_key_and_model(app: str, shell: Shell) -> None:
    recipe = recipe_for(APPS[app], ACCESS, shell)
    assert "http://127.0.0.1:6374" in recipe.text
    assert (KEY in recipe.text) != (app in KEY_APART)
    assert app == "open-webui" or "qwen3-32b" in recipe.text, "it lists the models itself"
    assert recipe.place


def test_the_texts_are_of_the_form_that_they_claim_whatever_the_model_is_called() -> None:
    access = replace(ACCESS, model=NASTY)
    for app in APPS.values():
        text = recipe_for(app, access, "sh").text
        if app.form == "json":
            assert NASTY in json.dumps(json.loads(text), ensure_ascii=False).replace("\\\\", "\\").replace(
                '\\"', '"'
            )
        elif app.form == "toml":
            assert tomllib.loads(text)["model"] == NASTY
        elif app.form == "python":
            assert any(getattr(one, "value", None) == NASTY for one in ast.walk(ast.parse(text)))


def test_claude_code_is_told_one_model_for_all_of_anthropics() -> None:
    found = variables_for(APPS["claude"], ACCESS)
    assert found.unset == ("ANTHROPIC_API_KEY",)
    assert {name for name, value in found.values.items() if value == "qwen3-32b"} == {
        "ANTHROPIC_MODEL",
        "ANTHROPIC_DEFAULT_OPUS_MODEL",
        "ANTHROPIC_DEFAULT_SONNET_MODEL",
        "ANTHROPIC_DEFAULT_HAIKU_MODEL",
        "ANTHROPIC_SMALL_FAST_MODEL",
    }


def test_where_the_mesh_has_claude_models_it_keeps_their_names() -> None:
    access = replace(ACCESS, model="claude-sonnet-5-5", has_claude=True)
    assert variables_for(APPS["claude"], access) == anthropic_variables(ACCESS.url, KEY)


def test_no_argument_holds_the_key() -> None:
    for app in APPS.values():
        assert not any(KEY in word for word in arguments_for(app, ACCESS))


def test_codex_gets_its_settings_for_one_start_as_toml() -> None:
    words = arguments_for(APPS["codex"], replace(ACCESS, model=NASTY))
    settings = tomllib.loads("\n".join(words[1::2]))
    assert settings["model"] == NASTY
    assert settings["model_providers"]["meshlight"]["env_key"] in variables_for(APPS["codex"], ACCESS).values


def test_what_is_launched_or_written_is_in_the_table() -> None:
    for app in APPS.values():
        assert not app.program or variables_for(app, ACCESS).values
        assert bool(app.file) == bool(settings_for(app, ACCESS)), app.id
        if app.form == "shell" and app.id != "curl":
            found = variables_for(app, ACCESS)
            assert {*found.values, *found.unset} == set(app.variables), app.id
