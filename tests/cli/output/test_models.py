import pytest
from msgspec.structs import replace
from rich.console import Console

from desktop.own_models import GB, LLAMA_SERVER, download, everything, loaded, local, model, offered
from meshlight.cli.output.console import TerminalStyle
from meshlight.cli.output.models import (
    choice_lines,
    done_text,
    download_problem_lines,
    fit_text,
    local_report,
    place_text,
    runner_lines,
    seconds_left,
    starter_lines,
    state_text,
    summary,
    use_text,
)
from meshlight.domain.backend import Reason
from meshlight.domain.local_views import LocalView, MemoryView, RunnerView, StarterView, StoreView

STYLE = TerminalStyle(width=80)


@pytest.mark.parametrize("width", [44, 60, 80, 120, 200])
@pytest.mark.parametrize(
    "view", [everything(), local(), local(model(), can_run=False)], ids=["full", "none", "idle"]
)
def test_the_list_fits_every_terminal(view: LocalView, width: int) -> None:
    console = Console(width=width, markup=False, emoji=False, highlight=False)
    with console.capture() as captured:
        console.print(local_report(view, TerminalStyle(width=width)))
    assert max(map(len, captured.get().splitlines())) <= width


def test_the_summary_counts_models_and_says_how_memory_stands() -> None:
    nothing = summary(local(memory=MemoryView()))
    assert nothing == "This machine has no models of its own yet."
    assert summary(local(model())) == "This machine has 1 model. Models can use 20 GB of 32 GB memory."
    assert summary(local(model(), loaded("a"))) == (
        "This machine has 2 models, 1 loaded. Models use 6.2 GB of 32 GB memory, and can use 14 GB more."
    )


def test_how_a_model_is_used_is_said_in_a_few_words() -> None:
    assert use_text(model()) == ""
    assert use_text(model(keep=True, hidden=True)) == "kept, hidden"
    assert use_text(loaded()) == "idle 3 min"
    assert use_text(loaded(keep=True)) == "idle 3 min, kept"
    assert use_text(loaded(in_flight=1)) == "1 request"


def test_a_state_has_a_shape_a_word_and_its_progress() -> None:
    assert state_text(model(state="loading", progress=0.425), STYLE).plain == "◐ loading 42 %"
    assert state_text(model(state="loading"), STYLE).plain == "◐ loading"
    ascii_only = TerminalStyle(width=80, ascii_only=True)
    assert state_text(loaded(), ascii_only).plain == "* loaded"


def test_a_download_says_what_is_here_and_how_long_it_takes() -> None:
    assert done_text(download()) == "1.2 GB of 2.5 GB"
    assert done_text(download(total_bytes=0, done_bytes=5_000)) == "5 kB"
    left_s = seconds_left(download(done_bytes=GB, total_bytes=3 * GB, bytes_per_s=1e9))
    assert left_s == 2.0
    assert seconds_left(download(bytes_per_s=None)) is None
    waiting = download(reason=Reason("offline", "The network is gone.", "It goes on by itself."))
    assert [line.plain for line in download_problem_lines(waiting, STYLE)][
        1
    ] == "  Fix: It goes on by itself."


def test_what_fits_and_what_is_too_big_is_told_with_the_number() -> None:
    file = offered("Q8_0", 9 * GB)
    assert fit_text(file) == "fits"
    assert fit_text(replace(file, fits="after-unloading")) == "fits when others are unloaded"
    assert fit_text(replace(file, fits="never", short_bytes=3 * GB)) == "too big by 3.0 GB"
    lines = choice_lines([file, replace(file, is_here=True)], STYLE)
    assert [line.plain.split() for line in lines[1:]] == [
        ["1", "Q8_0", "9.0", "GB", "fits"],
        ["2", "Q8_0", "9.0", "GB", "fits", "is", "here"],
    ]


def test_each_runner_that_can_t_be_used_says_why_and_the_fix() -> None:
    old = RunnerView(name="xllamacpp", label="xllamacpp", why_not="needs AVX2.", fix="Use llama-server.")
    lines = [line.plain for line in runner_lines(local(runners=(LLAMA_SERVER, old)), STYLE)]
    assert lines == [
        "! Nothing is installed here that can run models.",
        "! xllamacpp: needs AVX2.",
        "  Fix: Use llama-server.",
    ]


def test_starters_that_are_here_or_too_big_are_not_offered_as_if_they_were_not() -> None:
    big = StarterView(
        name="big", label="Big", size_bytes=9 * GB, licence="MIT", good_for="Code.", fits="never"
    )
    here = replace(big, name="here", is_here=True)
    text = " ".join(line.plain for line in starter_lines([here, big], STYLE))
    assert "pull here" not in text
    assert "Big, 9.0 GB, MIT. Code. It is too big for this machine." in text


def test_where_a_model_lies_is_told_without_a_path() -> None:
    folder = StoreView(store="folder", label="gguf")
    view = local(stores=(folder, StoreView(store="lmstudio", label="LM Studio")))
    assert [place_text(view, store) for store in ("own", "folder", "lmstudio", "jan")] == [
        "Meshlight's own folder",
        "your folder gguf",
        "the folder of LM Studio",
        "the folder of jan",
    ]
    assert place_text(local(stores=(folder, folder)), "folder") == "a folder of yours"
