import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api_client.local_api import KEY, LocalApi
from cli.app_lists import listed
from meshlight.cli.env import usual_shell

Type = Callable[..., Any]


@pytest.mark.usefixtures("api")
def test_the_key_is_printed_alone_for_use_in_other_commands(type_words: Type) -> None:
    said = type_words("key")
    assert (said.out, said.err) == (f"{KEY}\n", "")


def test_the_key_is_there_before_the_first_start(type_words: Type, tmp_path: Path) -> None:
    said = type_words("key")
    assert (tmp_path / "local.key").read_text() == said.out
    assert type_words("key").out == said.out


def test_the_variables_point_apps_to_the_running_service(api: LocalApi, type_words: Type) -> None:
    said = type_words("env", "--shell", "sh")
    assert said.lines == [
        '# Use it with: eval "$(meshlight env)"',
        f"export OPENAI_BASE_URL='{api.url}/v1'",
        f"export OPENAI_API_KEY='{KEY}'",
        "unset ANTHROPIC_API_KEY",
        f"export ANTHROPIC_BASE_URL='{api.url}'",
        f"export ANTHROPIC_AUTH_TOKEN='{KEY}'",
    ]
    assert said.err == ""


def test_ollamas_variables_are_for_those_who_ask_for_them(api: LocalApi, type_words: Type) -> None:
    assert "OLLAMA" not in type_words("env", "--shell", "sh").out
    assert type_words("env", "ollama", "--shell", "sh").lines == [
        '# Use it with: eval "$(meshlight env ollama)"',
        f"export OLLAMA_HOST='{api.url}'",
        f"export OLLAMA_API_KEY='{KEY}'",
    ]


@pytest.mark.parametrize(
    ("here", "named", "told"),
    [("qwen3-32b", "", "qwen3-32b"), ("claude-sonnet-5-5", "", ""), ("claude-sonnet-5-5", "mine", "mine")],
)
def test_claude_code_is_told_a_model_where_the_mesh_has_none_of_anthropics(
    here: str, named: str, told: str, api: LocalApi, type_words: Type
) -> None:
    api.says("GET", "/mesh/apps?model=", listed(api.url, here))
    more = ["--model", named] if named else []
    said = type_words("env", "anthropic", "--shell", "sh", *more)
    models = [line.partition("=")[2] for line in said.lines if "_MODEL=" in line]
    assert models == ([f"'{told}'"] * 5 if told else [])
    assert "OPENAI" not in said.out


def test_a_real_shell_takes_the_variables(api: LocalApi, type_words: Type) -> None:
    script = type_words("env", "--shell", "sh").out + 'printf %s "$OPENAI_BASE_URL $OPENAI_API_KEY"'
    done = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout == f"{api.url}/v1 {KEY}"


def test_each_shell_gets_its_own_words(api: LocalApi, type_words: Type) -> None:
    assert type_words("env", "--shell", "zsh").lines == type_words("env", "--shell", "sh").lines
    assert f"set -gx OPENAI_BASE_URL '{api.url}/v1'" in type_words("env", "--shell", "fish").lines
    assert f"$env:OPENAI_BASE_URL = '{api.url}/v1'" in type_words("env", "--shell", "powershell").lines
    lines = type_words("env", "--shell", "cmd").lines
    assert lines[0] == """rem Use it with: for /f "delims=" %i in ('meshlight env') do @%i"""
    assert f'set "OPENAI_BASE_URL={api.url}/v1"' in lines
    assert 'set "ANTHROPIC_API_KEY="' in lines


@pytest.mark.parametrize(
    ("parents", "shell", "expected"),
    [
        (["python3", "bash", "fish"], "/usr/bin/fish", "sh"),
        (["-zsh"], "", "sh"),
        (["uv.exe", "pwsh.exe", "explorer.exe"], "", "powershell"),
        (["CMD.EXE"], "", "cmd"),
        (["python3", "xterm"], "/usr/bin/fish", "fish"),
    ],
)
def test_the_shell_is_the_nearest_parent_that_is_one(parents: list[str], shell: str, expected: str) -> None:
    assert usual_shell(lambda: parents, {"SHELL": shell}) == expected


def test_the_parents_of_this_process_are_known() -> None:
    assert usual_shell() in {"sh", "fish", "powershell", "cmd"}


def test_without_a_service_the_variables_are_those_of_the_usual_port_with_a_warning(type_words: Type) -> None:
    said = type_words("env", "--shell", "sh")
    assert "export OPENAI_BASE_URL='http://127.0.0.1:6374/v1'" in said.lines
    assert said.err == "Meshlight isn't running. Start it with: meshlight\n"
    assert said.code == 0


def test_the_link_to_the_page_can_be_printed(api: LocalApi, type_words: Type) -> None:
    link = f"{api.url}/?code=once"
    api.says("POST", "/mesh/session/code", {"url": link})
    assert type_words("open", "--print").out == f"{link}\n"


def test_without_a_screen_the_link_is_printed_instead(api: LocalApi, type_words: Type) -> None:
    link = f"{api.url}/?code=once"
    api.says("POST", "/mesh/session/code", {"url": link})
    said = type_words("open")
    assert said.out == f"{link}\n"
    assert "No browser can be shown here" in said.err


def test_with_a_screen_the_browser_gets_a_file_and_no_code(
    api: LocalApi, type_words: Type, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f"#!/bin/sh\nprintf %s \"$1\" > '{tmp_path}/opened'\n")
    browser.chmod(0o700)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setenv("BROWSER", f"{browser} %s")
    page = tmp_path / "page.html"
    api.says("POST", "/mesh/session/file", {"path": str(page)})
    said = type_words("open", "--browser")
    assert (tmp_path / "opened").read_text() == page.as_uri()
    assert said.out.startswith("The mesh page opens in your browser.")
    assert "code" not in said.out + said.err
