import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api_client.local_api import KEY, LocalApi

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
        f"export ANTHROPIC_BASE_URL='{api.url}'",
        f"export ANTHROPIC_AUTH_TOKEN='{KEY}'",
        f"export OLLAMA_HOST='{api.url}'",
        f"export OLLAMA_API_KEY='{KEY}'",
    ]
    assert said.err == ""


def test_a_real_shell_takes_the_variables(api: LocalApi, type_words: Type) -> None:
    script = type_words("env", "--shell", "sh").out + 'printf %s "$OPENAI_BASE_URL $OPENAI_API_KEY"'
    done = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=True)
    assert done.stdout == f"{api.url}/v1 {KEY}"


def test_each_shell_gets_its_own_words(
    api: LocalApi, type_words: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert f"set -gx OLLAMA_HOST '{api.url}'" in type_words("env", "--shell", "fish").lines
    assert f"$env:OLLAMA_HOST = '{api.url}'" in type_words("env", "--shell", "powershell").lines
    monkeypatch.setenv("SHELL", "/usr/bin/fish")
    assert "set -gx" in type_words("env").out


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
    assert "No browser was found" in said.err


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
