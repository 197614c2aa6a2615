from desktop.samples import backend, mesh
from meshlight.cli.output.chat import LISTED, chat_models, model_choices
from meshlight.cli.output.console import TerminalStyle
from meshlight.domain.backend import ModelDetail


def test_healthy_models_come_first_then_near_ones_then_those_in_memory_and_none_that_cannot_chat() -> None:
    view = mesh(
        backend("ill", state="unhealthy", models=("ill",)),
        backend("far", ring="cloud", models=("far", "bge-m3")),
        backend(
            "near",
            models=("cold", "warm"),
            details={"cold": ModelDetail(loaded=False), "warm": ModelDetail(loaded=True)},
        ),
    )
    assert [model.id for model in chat_models(view)] == ["warm", "cold", "far", "ill"]


def test_choices_are_numbered_bounded_and_clean() -> None:
    view = mesh(backend("a", name="\x1b[31mAnn", models=tuple(f"m{n:02}\x1b[2J" for n in range(LISTED + 5))))
    lines = [line.plain for line in model_choices(chat_models(view), view, TerminalStyle(width=80))]
    assert len(lines) == LISTED + 1
    assert lines[1].split() == ["1", "m00", "machine", "●", "Ann"]
    assert "\x1b" not in "".join(lines)
