import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from meshlight.cli.app import COMMANDS, SECTIONS, commands

Type = Callable[..., Any]


def every_command() -> Iterator[tuple[str, click.Command]]:
    """Yield each command with what is typed for it."""
    context = click.Context(commands)
    for name in COMMANDS:
        command = commands.get_command(context, name)
        assert command is not None
        yield name, command
        if isinstance(command, click.Group):
            yield from ((f"{name} {sub}", below) for sub, below in command.commands.items())


EVERY_WORD = (
    [(name,) for name in COMMANDS]
    + [("backends", name) for name in ("list", "show", "add", "remove", "check", "enable", "disable")]
    + [("secrets", name) for name in ("list", "set", "remove")]
)


def test_the_help_shows_every_word_in_its_section_with_a_line_that_fits(type_words: Type) -> None:
    said = type_words("--help")
    assert said.code == 0
    for title, section in SECTIONS.items():
        assert f"\n{title}:\n" in said.out
        for name, word in section.items():
            assert any(line.split() == [name, *word.summary.split()] for line in said.lines), name
    assert max(map(len, said.lines)) <= 80


@pytest.mark.parametrize("word", EVERY_WORD, ids=" ".join)
def test_each_word_explains_itself_with_an_example(type_words: Type, word: tuple[str, ...]) -> None:
    said = type_words(*word, "--help")
    assert said.code == 0
    assert "Example" in said.out
    assert max(map(len, said.lines)) <= 80


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_words_says_what_the_word_itself_says(name: str) -> None:
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    assert command.help is not None
    assert (
        command.help.splitlines()[0]
        .rstrip(".")
        .startswith(COMMANDS[name].summary.split(";")[0].rstrip(".")[:20])
    )


def test_a_word_mistyped_is_answered_with_the_one_that_was_meant(type_words: Type) -> None:
    said = type_words("statsu")
    assert said.code == 2
    assert "Did you mean 'status'?" in said.err


def test_a_word_that_resembles_none_is_refused(type_words: Type) -> None:
    said = type_words("xyzzy")
    assert said.code == 2
    assert "xyzzy" in said.err
    assert "Did you mean" not in said.err


def test_what_needs_the_service_can_start_it_and_nothing_else_says_so() -> None:
    needs_none = {
        "setup", "tray", "serve", "desktop", "quit", "demo", "login", "env", "key", "doctor", "selftest",
        "uninstall", "version", "backends kinds", "secrets", "secrets list", "secrets set", "secrets remove",
    }  # fmt: skip
    starting = {
        name for name, command in every_command() if any(one.name == "start" for one in command.params)
    }
    assert starting == {name for name, _ in every_command()} - needs_none


@pytest.mark.parametrize(
    "word",
    [
        ("backends", "list"),
        ("backends",),
        ("backends", "enable", "b"),
        ("settings",),
        ("models", "list"),
        ("route", "m"),
    ],
    ids=" ".join,
)
def test_without_a_service_each_word_says_so_in_one_line_with_the_way_out(
    type_words: Type, word: tuple[str, ...]
) -> None:
    said = type_words(*word)
    assert said.code == 4
    assert said.out == ""
    assert said.err == "Error: Meshlight isn't running.\nStart it with: meshlight. Or add --start here.\n"


@pytest.mark.parametrize("name", ["backends", "models", "peers", "secrets", "settings"])
def test_a_group_alone_lists_what_it_is_about(name: str) -> None:
    group = dict(every_command())[name]
    assert isinstance(group, click.Group)
    assert group.invoke_without_command
    with click.Context(group, terminal_width=80) as context:
        lines = group.get_help(context).splitlines()
    assert not [line for line in lines[1:] if line.endswith("...")], "a summary that is cut off"
    assert "as_json" in {one.name for one in group.params}


def test_the_version_is_told(type_words: Type) -> None:
    assert type_words("version").out.startswith("meshlight 0.")
    assert type_words("--version").out.startswith("meshlight 0.")


def test_the_word_that_runs_the_service_carries_nothing_of_the_others(tmp_path: Path) -> None:
    program = (
        "import sys, meshlight.cli.app as c, click;"
        "c.commands.get_command(click.Context(c.commands), 'serve');"
        "print([m for m in ('rich', 'httpx', 'keyring', 'litestar', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == "[]"


def test_a_pipe_that_knows_only_ascii_gets_ascii(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "meshlight", "doctor"],
        capture_output=True,
        check=False,
        env={"MESHLIGHT_HOME": str(tmp_path), "PYTHONIOENCODING": "ascii", "PATH": ""},
        cwd=tmp_path,
    )
    assert done.stdout.isascii()
    assert b"+ Python 3." in done.stdout
    assert b"Traceback" not in done.stderr
