import pytest
from rich.console import Console

from desktop.samples import backend, hostile, mesh, scenario
from meshlight.cli.output.console import GOOD, TerminalStyle
from meshlight.cli.output.reports import MODELS_SHOWN, backend_report
from meshlight.cli.output.status import memory_text, message_lines, models_text, requests_text, status_report
from meshlight.domain.api_types import Requests
from meshlight.domain.backend import ModelDetail


def lines(screen: object, width: int) -> list[str]:
    console = Console(width=width, record=True, quiet=True, markup=False, emoji=False, highlight=False)
    console.quiet = False
    with console.capture() as captured:
        console.print(screen)
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("view", [scenario(), hostile(), mesh()], ids=["town", "hostile", "empty"])
def test_the_status_fits_every_terminal(view: object, width: int) -> None:
    shown = lines(status_report(view, "http://127.0.0.1:6374", TerminalStyle(width=width)), width)  # type: ignore[arg-type]
    assert all(len(line) <= width for line in shown)
    assert not any("\x1b" in line for line in shown)


def test_a_long_reason_wraps_under_itself() -> None:
    said = "one two three four five six seven", "seven eight nine ten eleven"
    shown = message_lines(GOOD, *said, TerminalStyle(width=30))
    assert [line.plain for line in shown] == [
        "✓ one two three four five six",
        "  seven",
        "  Fix: seven eight nine ten",
        "       eleven",
    ]


def test_counts_of_nought_are_left_out() -> None:
    assert requests_text(Requests()) == "0"
    assert requests_text(Requests(total=1284, failed=3, in_flight=2)) == "1,284, 3 failed, 2 now"


def test_models_are_counted_and_the_first_named() -> None:
    assert models_text(()) == "0"
    assert models_text(("b", "a")) == "2: b, a"
    assert models_text(tuple("abcdefghij")).startswith("10: a, b")


def test_a_backend_with_thousands_of_models_is_still_one_screen() -> None:
    shown = lines(
        backend_report(backend("b", models=tuple(f"m{i}" for i in range(2000))), TerminalStyle(width=80)), 80
    )
    assert len(shown) < MODELS_SHOWN + 20
    assert shown[-1].endswith("and 1960 more: meshlight models")


def test_this_machine_s_own_models_are_counted_with_those_in_memory() -> None:
    def here(*loaded: bool, **about: str) -> str:
        details = {f"m{n}": ModelDetail(loaded=is_loaded) for n, is_loaded in enumerate(loaded)}
        local = backend(
            "this-machine",
            name="This machine",
            kind="local",
            models=tuple(details),
            details=details,
            about=about,
        )
        return memory_text([backend("o"), local])

    assert here() == memory_text([backend("o")]) == ""
    assert here(True, False) == "This machine: 1 of 2 models in memory. More with: meshlight models list"
    assert here(False, Memory="20 GB free").startswith("This machine: 0 of 1 model in memory (20 GB free).")
