import json
import os
import pty
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api_client.local_api import LocalApi
from desktop.samples import backend, scenario
from meshlight.backends.base import Field
from meshlight.backends.engines.openai_compatible import OpenAICompatible
from meshlight.cli.backend_form import ask
from meshlight.desktop.system.process import program
from meshlight.domain.errors import BadRequest

Type = Callable[..., Any]
SECRET = "sk-a-secret-of-the-test"


class Cluster(OpenAICompatible):
    """A kind that can't do without two fields."""

    label = "Cluster"

    @property
    def fields(self) -> tuple[Field, ...]:
        return (
            Field(name="url", label="Address", required=True),
            Field(name="access_key", label="Access key", required=True),
            Field(name="api_key", label="Secret key", required=True, is_secret=True),
            Field(name="ca_file", label="Authority"),
            Field(name="follow_clock", label="Follow its clock", default="true"),
        )


def test_the_kinds_are_listed_with_what_each_needs(type_words: Type) -> None:
    said = type_words("backends", "kinds")
    assert said.lines[0].split() == ["KIND", "WHAT", "IT", "IS", "NEEDS"]
    assert any(line.startswith("ollama ") and line.endswith("Address") for line in said.lines)
    assert max(map(len, said.lines)) <= 80
    listed = json.loads(type_words("backends", "kinds", "--json").out)
    assert {"name": "api_key", "is_secret": True}.items() <= listed[0]["fields"][1].items()


def test_what_a_cluster_needs_is_sent_with_the_rest(api: LocalApi, type_words: Type, tmp_path: Path) -> None:
    api.says("POST", "/mesh/backends", backend("x"))
    (tmp_path / "ca.pem").write_text("PEM")
    said = type_words(
        "backends", "add", "cluster", "https://x", "--access-key", "AKIA1", "--no-follow-clock",
        "--ca-file", str(tmp_path / "ca.pem"), "--key-stdin", given=f"{SECRET}\n",
    )  # fmt: skip
    assert said.code == 0
    assert api.asked[-1].body == {
        "kind": "cluster",
        "url": "https://x",
        "access_key": "AKIA1",
        "ca_file": str(tmp_path / "ca.pem"),
        "follow_clock": False,
        "api_key": SECRET,
    }


def test_what_is_missing_is_named_with_its_option_where_nobody_can_be_asked(
    api: LocalApi, type_words: Type
) -> None:
    said = type_words("backends", "add", "ollama", given="http://typed.blindly\n")
    assert said.err == (
        "Error: Ollama needs its address.\n"
        "Give its address behind the kind: meshlight backends add ollama URL\n"
    )
    assert {one.path for one in api.asked} == {"/healthz"}
    for given, option in (
        ({"url": "https://x"}, "--access-key"),
        ({"url": "https://x", "access_key": "a"}, "--key-stdin"),
    ):
        with pytest.raises(BadRequest) as missing:
            ask(Cluster(), given, is_interactive=False)
        assert option in missing.value.hint
    whole = {"url": "https://x", "access_key": "a", "api_key": "s"}
    assert ask(Cluster(), whole, is_interactive=False) == whole


def test_a_kind_that_has_a_place_of_its_own_needs_no_address() -> None:
    class Cloud(Cluster):
        default_url = "https://api.example.com"

    given = {"access_key": "a", "api_key": "s"}
    assert ask(Cloud(), given, is_interactive=False) == given


def test_at_a_terminal_each_answer_is_checked_at_once_and_the_key_is_not_shown(
    api: LocalApi, tmp_path: Path
) -> None:
    api.says("POST", "/mesh/backends", backend("x"))
    shown = at_a_terminal(
        tmp_path,
        ["backends", "add", "ollama"],
        [
            ("Address (such as http://127.0.0.1:11434)", ""),
            ("http://127.0.0.1:11434 is only an example.", "gpu.lan:11434"),
            ("Write http://gpu.lan:11434, perhaps?", "http://gpu.lan:11434"),
            ("API key (not shown), empty for none", SECRET),
        ],
    )
    assert "Added: x" in shown
    assert SECRET not in shown
    assert api.asked[-1].body == {"kind": "ollama", "url": "http://gpu.lan:11434", "api_key": SECRET}


def test_at_a_terminal_an_address_is_enough_where_nothing_else_is_needed(
    api: LocalApi, tmp_path: Path
) -> None:
    api.says("POST", "/mesh/backends", backend("x"))
    assert "Added: x" in at_a_terminal(tmp_path, ["backends", "add", "ollama", "http://gpu.lan:11434"], [])
    assert api.asked[-1].body == {"kind": "ollama", "url": "http://gpu.lan:11434"}


def test_what_is_given_and_can_t_be_is_told_before_a_key_is_asked_for(
    api: LocalApi, type_words: Type
) -> None:
    api.says("GET", "/mesh/backends", {"backends": scenario().backends})
    for words in (("add", "vllm", "gpu.lan:8000"), ("set", "mlx", "--url", "gpu.lan:8000")):
        said = type_words("backends", *words, "--key", given=f"{SECRET}\n")
        assert (said.code, said.out) == (1, "")
        assert "Write http://gpu.lan:8000, perhaps?" in said.err
    assert not [one for one in api.asked if one.method in {"POST", "PATCH"}]


def test_a_refused_key_is_followed_by_the_ways_on(api: LocalApi, type_words: Type) -> None:
    api.fails(
        "POST", "/mesh/backends", 422, "check_failed", "It wants an API key (401).", "Give its API key."
    )
    said = type_words("backends", "add", "vllm", "http://x")
    assert said.err.splitlines()[1] == (
        "Give its API key. --key asks for it. To add it anyway: --save-anyway."
    )


def test_what_is_named_is_changed_and_nothing_else(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/backends", {"backends": scenario().backends})
    api.says("PATCH", "/mesh/backends/big-box", backend("big-box", name="Attic"))
    said = type_words(
        "backends", "set", "Big box", "--name", "Attic", "--url", "http://192.168.1.21:8000",
        "--ring", "lan", "--priority", "-1", "--slots", "4", "--first-byte", "120", "--idle", "9.5",
    )  # fmt: skip
    assert (said.code, said.out) == (0, "● Changed: Attic (healthy, 1 model).\n")
    assert api.asked[-1].body == {
        "name": "Attic",
        "url": "http://192.168.1.21:8000",
        "ring": "lan",
        "priority": -1,
        "slots": 4,
        "first_byte_s": 120.0,
        "idle_s": 9.5,
    }


def test_a_new_key_is_asked_for_and_never_shown_and_an_old_one_can_go(
    api: LocalApi, type_words: Type
) -> None:
    api.says("GET", "/mesh/backends", {"backends": scenario().backends})
    api.says("PATCH", "/mesh/backends/mlx", backend("mlx", name="MLX"))
    for option in ("--key", "--key-stdin"):
        said = type_words("backends", "set", "mlx", option, given=f"{SECRET}\n")
        assert (said.code, api.asked[-1].body) == (0, {"api_key": SECRET})
        assert SECRET not in said.out + said.err
    type_words("backends", "set", "mlx", "--no-key")
    assert api.asked[-1].body == {"api_key": ""}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "No change was given."),
        (["--no-key", "--key"], "--no-key can't be combined with a new key."),
        (["--key", "--key-stdin"], "--key and --key-stdin can't be combined."),
    ],
)
def test_a_change_that_can_t_be_meant_is_not_sent(
    api: LocalApi, type_words: Type, options: list[str], said: str
) -> None:
    api.says("GET", "/mesh/backends", {"backends": scenario().backends})
    failed = type_words("backends", "set", "mlx", *options)
    assert (failed.code, failed.err.splitlines()[0]) == (1, f"Error: {said}")
    assert not [one for one in api.asked if one.method == "PATCH"]


def test_a_change_that_does_not_answer_is_not_kept_and_the_way_on_is_named(
    api: LocalApi, type_words: Type
) -> None:
    api.says("GET", "/mesh/backends", {"backends": scenario().backends})
    api.fails("PATCH", "/mesh/backends/mlx", 422, "check_failed", "Connection refused at x:1.", "Start it.")
    said = type_words("backends", "set", "mlx", "--url", "http://x:1")
    assert said.err.splitlines()[1] == "Start it. To save the change anyway: --save-anyway."
    api.says("PATCH", "/mesh/backends/mlx", backend("mlx", state="unhealthy"))
    type_words("backends", "set", "mlx", "--url", "http://x:1", "--save-anyway")
    assert api.asked[-1].body == {"url": "http://x:1", "save_anyway": True}


def at_a_terminal(home: Path, words: list[str], talk: list[tuple[str, str]]) -> str:
    """Type a word at a real terminal, answer its questions, and return what was on the screen."""
    ours, theirs = pty.openpty()
    environ = {"PATH": os.environ["PATH"], "MESHLIGHT_HOME": str(home), "TERM": "dumb", "LC_ALL": "C.UTF-8"}
    with subprocess.Popen(
        program(*words), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True, env=environ
    ) as running:
        os.close(theirs)
        screen = ""
        try:
            for question, answer in talk:
                while question not in screen or not screen.rstrip().endswith(":"):
                    screen += os.read(ours, 4096).decode()
                os.write(ours, f"{answer}\n".encode())
                screen += "\n"
            while data := os.read(ours, 4096):
                screen += data.decode()
        except OSError:
            pass  # how Linux says that the other end is closed
        finally:
            os.close(ours)
            running.wait(20)
    return screen


def test_a_peer_is_not_among_what_can_be_added(type_words: Type) -> None:
    assert "peer" not in type_words("backends", "kinds").out
    assert "peer" not in type_words("backends", "add", "--help").out


def test_models_are_named_anew_or_asked_for_again(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/backends", {"backends": scenario().backends})
    api.says("PATCH", "/mesh/backends/mlx", backend("mlx", name="MLX"))
    type_words("backends", "set", "mlx", "--model", "a", "--proxy", "none")
    assert api.asked[-1].body == {"models": ["a"], "proxy": "none"}
    type_words("backends", "set", "mlx", "--no-models")
    assert api.asked[-1].body == {"models": []}


def test_slots_are_left_to_be_learned_again(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/backends", {"backends": scenario().backends})
    api.says("PATCH", "/mesh/backends/mlx", backend("mlx", name="MLX"))
    type_words("backends", "set", "mlx", "--no-slots")
    assert api.asked[-1].body == {"slots": None}
    assert "one of them" in type_words("backends", "set", "mlx", "--no-slots", "--slots", "2").err
