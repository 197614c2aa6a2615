"""Commands that start what they need: after a question, at once, or by `--start` in a script."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.terminal import Terminal
from process_fixture import Home

Type = Callable[..., Any]
NEEDS_ALL = (("status",), ("models",), ("open", "--print"), ("backends", "add", "ollama", "http://x"))


@pytest.mark.parametrize("word", NEEDS_ALL, ids=" ".join)
def test_a_script_is_told_and_nothing_is_started(type_words: Type, word: tuple[str, ...]) -> None:
    said = type_words(*word)
    assert said.code == 4
    assert said.out == ""
    assert said.err == ("Error: Meshlight isn't running.\nStart it with: meshlight. Or add --start here.\n")


def test_what_a_start_would_not_mend_is_told_and_nothing_is_started(type_words: Type, tmp_path: Path) -> None:
    (tmp_path / "runtime.json").write_text("{")
    said = type_words("status", "--start")
    assert said.code == 4
    assert "runtime.json can't be read" in said.err
    assert "delete this file" in said.err
    assert [path.name for path in tmp_path.iterdir()] == ["runtime.json"]


def test_at_a_terminal_status_asks_first_and_open_does_not(home: Home) -> None:
    with Terminal(home.folder, "status") as term:
        term.until("Start it now? [Y/n]:")
        term.type("n")
        assert term.end() == 4
        assert "It was not started." in term.screen
    with Terminal(home.folder, "open", "--print") as term:
        assert term.end() == 0
    assert "It is started, in the background." in term.screen
    assert f"http://127.0.0.1:{home.port}/?code=" in term.screen
    assert home.answers()


def test_a_script_may_ask_for_the_start(home: Home, type_words: Type) -> None:
    said = type_words("models", "--start", "--json")
    assert (said.code, said.out) == (0, "[]\n")
    assert home.answers()
