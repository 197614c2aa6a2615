import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api_client.local_api import LocalApi
from cli.terminal import Terminal
from desktop.own_models import GB, REPOSITORY, download, local, model, offered, repository
from desktop.samples import mesh
from meshlight.cli.model_pull import find_download, needs_choice
from meshlight.domain.backend import Reason
from meshlight.domain.errors import BadRequest, NotFound
from meshlight.domain.events import LocalEvent

Type = Callable[..., Any]
NAME = f"{REPOSITORY}:Q4_K_M"
DONE = download(state="done", done_bytes=2_500_000_000, model=NAME)
FAILED = download(state="failed", reason=Reason("disk", "The disk is full.", "Make room for 1.3 GB."))
CHOICE = repository(
    offered("Q2_K", 1_600_000_000),
    offered("Q8_0", 4_300_000_000, fits="after-unloading"),
    offered("BF16", 8 * GB, fits="never", short_bytes=3 * GB),
)
CHOICE_PATH = "/mesh/models/repository?name=Qwen%2FQwen3-4B-GGUF"


@pytest.fixture
def pulling(api: LocalApi) -> LocalApi:
    """A service that downloads what it is asked for."""
    api.says("GET", "/mesh/models", local(downloads=(download(),)))
    api.says("POST", "/mesh/models/pull", download())
    return api


def test_a_download_is_followed_to_its_end(pulling: LocalApi, type_words: Type) -> None:
    pulling.send(mesh())
    pulling.send(LocalEvent(seq=8, downloads=(download(done_bytes=2 * GB),)))
    pulling.send(LocalEvent(seq=9, downloads=(DONE,)))
    said = type_words("models", "pull", f" {REPOSITORY}")
    assert (said.code, said.lines) == (
        0,
        [f"✓ {NAME} is here (2.5 GB).", f"Try it with: meshlight test {NAME}"],
    )
    assert said.err == f"Downloading {NAME}, 1.2 GB of 2.5 GB…\n"
    assert [one.body for one in pulling.asked if one.method == "POST"] == [{"name": REPOSITORY}]


def test_a_download_that_fails_says_why_and_how_to_go_on(pulling: LocalApi, type_words: Type) -> None:
    pulling.send(mesh())
    pulling.send(LocalEvent(seq=9, downloads=(FAILED,)))
    said = type_words("models", "pull", REPOSITORY)
    assert said.code == 1
    assert "The disk is full.\n  Fix: Make room for 1.3 GB.\n" in said.out
    assert said.lines[-1] == f"Go on where it stopped with: meshlight models pull {NAME}"


@pytest.mark.parametrize(("here", "code"), [((), 1), ((model(NAME),), 0)])
def test_a_download_that_is_listed_no_more_is_here_or_was_cancelled(
    pulling: LocalApi, type_words: Type, here: Any, code: int
) -> None:
    pulling.says("GET", "/mesh/models", local(*here))
    pulling.send(mesh())
    said = type_words("models", "pull", REPOSITORY)
    assert said.code == code
    assert f"Error: The download of {NAME} was cancelled.\n" in said.err or code == 0


def test_without_waiting_the_service_goes_on_alone(pulling: LocalApi, type_words: Type) -> None:
    said = type_words("models", "pull", REPOSITORY, "--no-wait")
    assert (said.code, said.lines[0]) == (0, f"✓ Downloading {NAME}.")
    assert json.loads(type_words("models", "pull", REPOSITORY, "--no-wait", "--json").out)["id"] == "d1"
    pulling.says("POST", "/mesh/models/pull", DONE)
    assert type_words("models", "pull", REPOSITORY).lines[0] == f"✓ {NAME} is here."


def test_on_a_terminal_it_shows_its_progress_and_ctrl_c_leaves_it_running(
    pulling: LocalApi, tmp_path: Path
) -> None:
    pulling.send(mesh())
    with Terminal(tmp_path, "models", "pull", REPOSITORY, width=120, term="xterm") as term:
        term.until("1.2 GB of 2.5 GB, 12 MB/s, 1 min left")
        term.ctrl_c()
        assert term.end() == 1
    assert f"The download of {NAME} goes on in the service." in term.screen
    assert f"meshlight models pull {NAME} --pause (or --cancel)" in term.screen


@pytest.fixture
def choosing(api: LocalApi) -> LocalApi:
    """A service whose repository offers several models."""
    api.says("GET", "/mesh/models", local())
    api.fails("POST", "/mesh/models/pull", 409, "conflict", "It offers several models.")
    api.says("GET", CHOICE_PATH, CHOICE)
    return api


def test_a_choice_is_asked_with_sizes_and_what_fits(choosing: LocalApi, tmp_path: Path) -> None:
    with Terminal(tmp_path, "models", "pull", REPOSITORY, "--no-wait") as term:
        term.until("Which one")
        choosing.says("POST", "/mesh/models/pull", download())
        term.until("[2]")
        term.type("7")
        term.until("Answer with a number from 1 to 3.")
        term.type("bf16")
        term.until("Download it anyway? [y/N]")
        term.type("y")
        assert term.end() == 0
    assert "1  Q2_K   1.6 GB  fits" in term.screen
    assert "2  Q8_0   4.3 GB  fits when others are unloaded" in term.screen
    assert "3  BF16   8.0 GB  too big by 3.0 GB" in term.screen
    assert choosing.asked[-1].body == {"name": f"{REPOSITORY}:BF16"}


@pytest.mark.usefixtures("choosing")
def test_where_nobody_can_be_asked_the_names_are_listed(type_words: Type) -> None:
    said = type_words("models", "pull", REPOSITORY)
    assert said.code == 1
    assert said.err == (
        f"Error: {REPOSITORY} offers several models.\nName one of: {REPOSITORY}:Q2_K (1.6 GB, fits), "
        f"{REPOSITORY}:Q8_0 (4.3 GB, fits when others are unloaded), "
        f"{REPOSITORY}:BF16 (8.0 GB, too big by 3.0 GB)\n"
    )


def test_another_conflict_is_no_choice(choosing: LocalApi, type_words: Type) -> None:
    choosing.fails("POST", "/mesh/models/pull", 409, "conflict", "The disk has 1 GB left.", "Make room.")
    choosing.says("GET", CHOICE_PATH, repository(offered("Q4_K_M", GB), offered("Q8_0", 2 * GB)))
    for name in (REPOSITORY, f"{REPOSITORY}:Q8_0", "starter"):
        assert type_words("models", "pull", name).err == "Error: The disk has 1 GB left.\nMake room.\n"
    assert not needs_choice(repository(offered("Q8_0", GB)))


def test_without_a_name_what_to_begin_with_is_shown(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/models", local(downloads=(download(),)), local(starters=()))
    said = type_words("models", "pull")
    assert "  meshlight models pull starter" in said.lines
    assert NAME in said.out
    assert type_words("models", "pull").out.startswith("Get a model from Hugging Face with:")
    assert json.loads(type_words("models", "pull", "--json").out) == []


def test_a_download_is_paused_resumed_and_cancelled(pulling: LocalApi, type_words: Type) -> None:
    pulling.says("POST", "/mesh/models/downloads/d1/pause", download(state="paused"))
    pulling.says("POST", "/mesh/models/downloads/d1/resume", download())
    pulling.says("DELETE", "/mesh/models/downloads/d1", None, status=204)
    paused = type_words("models", "pull", "--pause")
    assert paused.lines == [
        f"✓ Paused {NAME} at 1.2 GB of 2.5 GB.",
        f"Go on with: meshlight models pull {NAME} --resume",
    ]
    assert type_words("models", "pull", "qwen3-4b-gguf", "--resume", "--no-wait").code == 0
    assert type_words("models", "pull", "d1", "--cancel").out.startswith(f"✓ Cancelled {NAME}.")
    assert json.loads(type_words("models", "pull", "--pause", "--json").out)["state"] == "paused"


def test_which_download_is_meant_must_be_clear() -> None:
    two = local(downloads=(download(), download(id="d2", name="starter"), download(id="d3", state="done")))
    assert find_download(two, "STARTER").id == "d2"
    with pytest.raises(BadRequest) as unclear:
        find_download(two, None)
    assert unclear.value.hint == f"Name one of: {NAME}, starter"
    with pytest.raises(NotFound) as unknown:
        find_download(two, "x")
    assert unknown.value.hint == f"There are: {NAME}, starter"
    with pytest.raises(NotFound, match="No model is being downloaded"):
        find_download(local(), None)
