import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api_client.local_api import LocalApi
from cli.terminal import Terminal
from desktop.own_models import (
    BGE,
    NO_LLAMA_SERVER,
    QWEN,
    SMOL,
    everything,
    failed,
    loaded,
    local,
    model,
)
from desktop.samples import backend, mesh
from meshlight.cli.models import find_model, idle_models
from meshlight.domain.backend import Reason
from meshlight.domain.errors import BadRequest, NotFound
from meshlight.domain.events import LocalEvent
from meshlight.domain.local_models import RejectedFile
from meshlight.domain.local_views import LocalModelView, LocalView, StoreView

Type = Callable[..., Any]
CONTROLS = [chr(n) for n in (*range(0x20), *range(0x7F, 0xA0)) if n != 0x0A] + list("\u202e\u2066\u200b")
NASTY = "\x1b[31mred\x1b[0m \x1b]0;title\x07[bold]bold[/bold] \u202egnp.exe\u2066 z\u200bw \x9b2J\r\nnext"
WORDS = ("list", "load", "unload", "keep", "show", "log", "rm", "pull")


@pytest.fixture
def own(api: LocalApi) -> LocalApi:
    """A service with own models in every state."""
    api.says("GET", "/mesh/models", everything())
    return api


def sent(api: LocalApi) -> list[tuple[str, str, Any]]:
    """What was asked for but for reading."""
    return [(one.method, one.path, one.body) for one in api.asked if one.method != "GET"]


def test_models_are_listed_once_with_all_who_serve_them(api: LocalApi, type_words: Type) -> None:
    api.says(
        "GET",
        "/mesh/snapshot",
        mesh(backend("a", ring="cloud"), backend("b", state="unhealthy"), backend("c", models=("z",))),
    )
    said = type_words("models")
    assert [line.split() for line in said.lines] == [
        ["MODEL", "RING", "BACKENDS"],
        ["qwen3:4b", "machine", "●", "a,", "✖", "b"],
        ["z", "machine", "●", "c"],
    ]
    assert json.loads(type_words("models", "--json").out)[0]["backends"] == ["a", "b"]


@pytest.mark.parametrize("word", WORDS)
def test_each_word_explains_itself_with_an_example(type_words: Type, word: str) -> None:
    said = type_words("models", word, "--help")
    assert (said.code, "Example" in said.out) == (0, True)
    assert max(map(len, said.lines)) <= 80


@pytest.mark.parametrize("word", WORDS)
def test_without_a_service_each_word_says_so_as_all_do(type_words: Type, word: str) -> None:
    said = type_words("models", word, *(["--all"] if word == "unload" else [] if word == "list" else ["x"]))
    assert (said.code, said.out) == (4, "")
    assert said.err == "Error: Meshlight isn't running.\nStart it with: meshlight. Or add --start here.\n"


def test_an_older_service_says_that_it_knows_no_own_models(api: LocalApi, type_words: Type) -> None:
    api.fails("GET", "/mesh/models", 404, "not_found", "There is nothing at /mesh/models.")
    said = type_words("models", "list")
    assert (said.code, said.err) == (1, "Error: There is nothing at /mesh/models.\n")


@pytest.mark.usefixtures("own")
def test_the_list_has_state_need_use_downloads_and_what_is_wrong(type_words: Type) -> None:
    said = type_words("models", "list")
    assert said.code == 0
    assert " ".join(said.lines[:2]) == (
        "This machine has 7 models, 2 loaded. Models use 6.5 GB of 32 GB memory, and can use 14 GB more."
    )
    assert f"● loaded        {QWEN}   6.2 GB  idle 3 min, kept" in said.lines
    assert "◐ loading 42 %  mistral-small               6.2 GB" in said.lines
    assert any(
        line.startswith("○ on disk") and line.endswith("too big for this machine") for line in said.lines
    )
    assert any("1.2 GB of 2.5 GB  12 MB/s  1 min" in line for line in said.lines)
    assert "✖ llama-3.2-3b: The file is incomplete." in said.lines
    assert "! model-00002-of-00003.gguf (Hugging Face): 1 of 3 parts is missing." in said.lines
    assert max(map(len, said.lines)) <= 80


def test_a_wide_terminal_shows_size_too_and_purpose_and_runner_where_they_differ(
    own: LocalApi, type_words: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    titles, *rows = (line.split() for line in type_words("models", "list").lines[2:])
    assert titles == ["STATE", "MODEL", "SIZE", "NEEDS", "FOR", "USE"]
    assert ["○", "on", "disk", BGE, "37", "MB", "150", "MB", "embeddings"] in rows
    own.says("GET", "/mesh/models", local(loaded(), model(SMOL, runner="xllamacpp")))
    titles = type_words("models", "list").lines[2].split()
    assert titles == ["STATE", "MODEL", "SIZE", "NEEDS", "RUNNER", "USE"]


@pytest.mark.usefixtures("own")
def test_the_list_as_json_is_the_view_itself(type_words: Type) -> None:
    assert msgspec.json.decode(type_words("models", "list", "--json").out, type=LocalView) == everything()


def test_a_machine_without_models_is_offered_one_with_the_command(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/models", local())
    said = type_words("models", "list")
    assert "  meshlight models pull starter" in said.lines
    assert "    SmolLM2 135M Instruct, 98 MB, Apache-2.0. Seeing that everything works: it" in said.out


def test_models_that_nothing_can_run_are_said_with_what_to_install(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/models", local(model(), runners=(NO_LLAMA_SERVER,), can_run=False))
    out = type_words("models", "list").out
    assert "✗ This machine has models but nothing to run them." in out
    assert "  Fix: brew install llama.cpp" in out


def test_own_models_that_are_switched_off_say_how_to_switch_them_on(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/models", local(enabled=False))
    assert "`enabled = true` below `[local]`" in type_words("models", "list").out
    assert "switched off" in type_words("models", "show", "x").err


@pytest.mark.parametrize(
    "words", [("list",), ("list", "--json"), ("show", "next"), ("log", "next")], ids=" ".join
)
def test_names_and_lines_of_strangers_can_neither_paint_nor_hide_nor_reverse(
    api: LocalApi, type_words: Type, words: tuple[str, ...]
) -> None:
    hostile = local(
        model(NASTY, state="failed", reason=Reason("x", NASTY, NASTY), runner=NASTY, quantization=NASTY),
        stores=(StoreView(store="hub", label=NASTY, note=NASTY),),
        rejected=(RejectedFile(name=NASTY, store="hub", why=NASTY),),
    )
    api.says("GET", "/mesh/models", hostile)
    api.routes["GET", "*"] = api.routes["GET", "/mesh/models"]
    api.says("GET", "*", {"model": NASTY, "lines": [NASTY]})
    said = type_words("models", *words)
    assert said.code == 0
    assert not [letter for letter in CONTROLS if letter in said.out]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (QWEN, QWEN),
        ("qwen/qwen3-8b-gguf:q4_k_m", QWEN),
        ("Qwen3-8B-GGUF:Q4_K_M", QWEN),
        ("qwen3-8b-gguf", QWEN),
        ("qwen3", QWEN),
        ("Qwen3-8B", QWEN),
        ("q4_1", SMOL),
        ("smollm2", SMOL),
    ],
)
def test_a_model_is_found_by_its_name_its_end_or_its_beginning(text: str, found: str) -> None:
    view = local(model(QWEN, names=("Qwen3-8B",)), model(SMOL), model(BGE))
    assert find_model(view, text).id == found


def test_a_name_that_fits_several_is_answered_with_them_and_an_unknown_one_with_similar() -> None:
    view = local(model("a/tiny:Q8_0"), model("a/tiny:Q4_0"), model(SMOL))
    with pytest.raises(BadRequest) as several:
        find_model(view, "tiny")
    assert (several.value.title, several.value.hint) == (
        "2 models match 'tiny'.",
        "Give more of the name. They are: a/tiny:Q8_0, a/tiny:Q4_0",
    )
    with pytest.raises(NotFound) as unknown:
        find_model(view, "smolm2-135m-instruct-q4_1")
    assert unknown.value.hint == f"Did you mean {SMOL}?"
    with pytest.raises(NotFound):
        find_model(view, " ")
    with pytest.raises(NotFound) as none:
        find_model(local(), "x")
    assert "meshlight models pull starter" in none.value.hint


def test_a_model_is_loaded_and_how_that_goes_is_said(own: LocalApi, type_words: Type) -> None:
    waits = model(state="waiting", reason=Reason("memory", "It waits for memory that mistral-small uses."))
    own.says("POST", "/mesh/models/load", model(state="loading"), loaded(), failed(), waits)
    said = [type_words("models", "load", "qwen") for _ in range(4)]
    assert sent(own)[0] == ("POST", "/mesh/models/load", {"model": QWEN, "wait": False})
    assert [one.code for one in said] == [0, 0, 1, 0]
    assert (
        said[0].out.split() == f"✓ {QWEN} is loading. See how far it is with: meshlight models list".split()
    )
    assert said[1].out == f"✓ {QWEN} is loaded by llama-server: 6.2 GB, 8k context.\n"
    assert "The file is incomplete.\n  Fix: Download it again.\n" in said[2].out
    assert said[2].lines[-1] == f"See what its engine wrote with: meshlight models log {QWEN}"
    assert "It waits for memory" in said[3].out
    assert json.loads(type_words("models", "load", "qwen", "--json").out)["state"] == "waiting"


@pytest.mark.parametrize(("last", "code"), [(loaded(), 0), (failed(), 1), (model(), 1), (None, 1)])
def test_waiting_for_a_load_ends_with_it(api: LocalApi, type_words: Type, last: Any, code: int) -> None:
    loading = model(state="loading", progress=0.1)
    api.says("GET", "/mesh/models", local(model()), local(loading))
    api.says("POST", "/mesh/models/load", loading)
    api.send(mesh())
    api.send(LocalEvent(seq=8, models=(model(state="loading", progress=0.6),)))
    gone = LocalEvent(seq=9, removed=(QWEN,))
    api.send(gone if last is None else LocalEvent(seq=9, models=(last,)))
    said = type_words("models", "load", "qwen", "--wait")
    assert (said.code, said.err) == (code, "")
    assert said.out.startswith(f"✓ {QWEN} is loaded" if code == 0 else ("✗", "!"))


def test_ctrl_c_leaves_the_model_loading_and_says_so(api: LocalApi, tmp_path: Path) -> None:
    loading = model(state="loading", progress=0.42)
    api.says("GET", "/mesh/models", local(loading))
    api.says("POST", "/mesh/models/load", loading)
    api.send(mesh())
    with Terminal(tmp_path, "models", "load", "qwen", "--wait", term="xterm") as term:
        term.until("42 %")
        term.ctrl_c()
        assert term.end() == 1
    assert "goes on loading. Stop it with: meshlight models unload NAME" in " ".join(term.screen.split())


def test_what_does_not_fit_is_refused_in_the_service_s_words(own: LocalApi, type_words: Type) -> None:
    own.fails(
        "POST", "/mesh/models/load", 409, "conflict", "gemma needs 34 GB; 20 GB can be used.", "Less context."
    )
    said = type_words("models", "load", "gemma")
    assert (said.code, said.err) == (1, "Error: gemma needs 34 GB; 20 GB can be used.\nLess context.\n")


def test_a_model_is_unloaded_and_its_memory_is_free_again(own: LocalApi, type_words: Type) -> None:
    own.says("POST", "/mesh/models/unload", model())
    assert (
        type_words("models", "unload", "qwen").out == f"✓ Unloaded {QWEN}: 6.2 GB of memory are free again.\n"
    )
    assert type_words("models", "unload", "smol", "--force").out == f"✓ {SMOL} was not loaded.\n"
    assert [body for _, _, body in sent(own)] == [
        {"model": QWEN, "force": False},
        {"model": SMOL, "force": True},
    ]
    assert json.loads(type_words("models", "unload", "qwen", "--json").out)["state"] == "on-disk"


def test_all_that_is_idle_and_not_kept_is_unloaded(api: LocalApi, type_words: Type) -> None:
    view = local(loaded(keep=True), loaded("busy", in_flight=1), loaded("idle"), model(SMOL))
    assert [one.id for one in idle_models(view)] == ["idle"]
    api.says("GET", "/mesh/models", view, local())
    api.says("POST", "/mesh/models/unload", model("idle"))
    assert type_words("models", "unload", "--all").out.startswith("✓ Unloaded idle")
    assert [body for _, _, body in sent(api)] == [{"model": "idle", "force": False}]
    assert type_words("models", "unload", "--all").out.startswith("Nothing to unload")


@pytest.mark.parametrize("words", [(), ("x", "--all"), ("--all", "--on", "b")])
def test_what_to_unload_must_be_clear(type_words: Type, words: tuple[str, ...]) -> None:
    said = type_words("models", "unload", *words)
    assert (said.code, "Name one model, or give --all" in said.err) == (1, True)


def test_another_engine_loads_and_unloads_by_the_same_words(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/backends", {"backends": [backend("o-1", name="Ollama")]})
    for word in ("load", "unload"):
        api.says("POST", f"/mesh/backends/o-1/models/{word}", {})
        said = type_words("models", word, "qwen3:4b", "--on", "ollama")
        assert (said.code, said.out) == (0, f"✓ Ollama has {word}ed qwen3:4b.\n")
    api.fails("POST", "/mesh/backends/o-1/models/load", 409, "conflict", "vLLM can't load models.")
    assert type_words("models", "load", "m", "--on", "o-1").err == "Error: vLLM can't load models.\n"


def test_a_model_that_another_engine_could_load_is_said_to_be_there(own: LocalApi, type_words: Type) -> None:
    engines = [backend("old", models=("qwen3:4b",)), backend("o-1", name="Ollama", can_load=True)]
    own.says("GET", "/mesh/backends", {"backends": engines})
    for word in ("load", "unload"):
        said = type_words("models", word, "qwen3:4b")
        assert said.code == 1
        assert said.err.endswith("has no model called 'qwen3:4b'.\nOllama has it: add --on o-1\n")
    assert "--on" not in type_words("models", "load", "nowhere").err


def test_a_model_is_kept_and_released(own: LocalApi, type_words: Type) -> None:
    own.says("PATCH", "/mesh/models", loaded(keep=True), model(SMOL, keep=True), loaded())
    assert type_words("models", "keep", "qwen").out == f"✓ {QWEN} stays loaded. Undo this with --off.\n"
    assert "it is loaded now and at each start" in " ".join(type_words("models", "keep", "smol").out.split())
    assert "is unloaded when it has been idle" in type_words("models", "keep", "qwen", "--off").out
    assert [body for _, _, body in sent(own)] == [
        {"model": QWEN, "keep": True},
        {"model": SMOL, "keep": True},
        {"model": QWEN, "keep": False},
    ]


def _show(api: LocalApi, type_words: Type, shown: LocalModelView) -> str:
    api.says("GET", "/mesh/models", local(shown))
    return str(type_words("models", "show", shown.id).out)


def test_one_model_in_full_has_its_memory_its_context_and_where_it_lies(
    own: LocalApi, type_words: Type
) -> None:
    said = type_words("models", "show", "qwen")
    assert said.lines[0] == QWEN
    assert {tuple(line.split(maxsplit=1)) for line in said.lines[1:]} >= {
        ("state", "● loaded"),
        ("unloads", "never by itself"),
        ("memory", "6.2 GB"),
        ("context", "8,192 tokens"),
    }
    assert "the folder of Hugging Face" in said.out
    assert "in 11 min, if it stays idle" in _show(own, type_words, loaded())
    assert "unloads" not in _show(own, type_words, loaded(in_flight=1, expires_in_s=None))
    own.says("GET", "/mesh/models", everything())
    assert "no: it needs more memory" in type_words("models", "show", "gemma").out
    assert json.loads(type_words("models", "show", "gemma", "--json").out)["fits"] == "never"


def test_the_last_lines_of_an_engine_are_printed(own: LocalApi, type_words: Type) -> None:
    own.says(
        "GET", "/mesh/models/log?model=tiny", {"model": "tiny", "lines": ["one", "two"]}, {"model": "tiny"}
    )
    assert type_words("models", "log", "tiny").lines == ["one", "two"]
    assert "was not loaded since the service started" in type_words("models", "log", "tiny").out
    assert json.loads(type_words("models", "log", "tiny", "--json").out) == {"model": "tiny", "lines": []}


def test_only_what_meshlight_has_downloaded_is_deleted_and_only_after_a_yes(
    own: LocalApi, type_words: Type, tmp_path: Path
) -> None:
    refused = type_words("models", "rm", "qwen", "--yes")
    assert (refused.code, refused.err.splitlines()[0]) == (
        1,
        f"Error: {QWEN} lies in the folder of Hugging Face, which Meshlight only reads.",
    )
    assert type_words("models", "rm", "smol").err.endswith("Add --yes.\n")
    with Terminal(tmp_path, "models", "rm", "smol") as term:
        term.until(f"Delete {SMOL} (98 MB)? [y/N]")
        term.type("n")
        assert term.end() == 1
    assert sent(own) == []
    own.says("DELETE", f"/mesh/models?model={SMOL}", None, status=204)
    assert type_words("models", "rm", "smol", "--yes").out == (
        f"✓ Deleted {SMOL}: 98 MB of the disk are free again.\n"
    )
    assert json.loads(type_words("models", "rm", "smol", "--yes", "--json").out)["id"] == SMOL
