"""What engines tell of their models, as people read it."""

import pytest

from desktop.samples import backend, mesh
from meshlight.cli.output.reports import (
    context_text,
    contexts_text,
    detail_text,
    model_listing,
    quantizations_text,
    states_text,
    url_text,
)
from meshlight.domain.backend import ModelDetail

SMALL = ModelDetail(context=4096, loaded=True, quantization="Q4_K_M")
LARGE = ModelDetail(context=131_072, loaded=False, quantization="Q8_0")
SILENT = ModelDetail()


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (None, ""),
        (512, "512"),
        (2048, "2k"),
        (8192, "8k"),
        (32_000, "32k"),
        (40_960, "40k"),
        (131_072, "128k"),
        (200_000, "200k"),
        (1_000_000, "1M"),
        (1_048_576, "1M"),
    ],
)
def test_a_context_is_said_in_thousands(tokens: int | None, said: str) -> None:
    assert context_text(tokens) == said


def test_a_detail_is_one_line_of_what_is_known() -> None:
    whole = ModelDetail(
        context=8192,
        loaded=True,
        quantization="Q4_K_M",
        parameters="8B",
        capabilities=("chat", "completion", "vision", "tools"),
    )
    assert detail_text(whole) == "8k context · 8B · Q4_K_M · loaded · vision · tools"
    assert detail_text(ModelDetail(loaded=False)) == "not loaded"
    assert detail_text(ModelDetail(capabilities=("chat",))) == ""


def test_several_backends_that_differ_are_told_in_one_word_each() -> None:
    several = [LARGE, SMALL, SILENT, SMALL]
    assert contexts_text(several) == "4k-128k"
    assert quantizations_text(several) == "Q8_0, Q4_K_M"
    assert states_text(several) == "on some"


def test_what_nobody_tells_is_empty() -> None:
    assert contexts_text([SILENT]) == quantizations_text([SILENT]) == states_text([SILENT]) == ""
    assert (contexts_text([SMALL]), states_text([SMALL]), states_text([LARGE])) == (
        "4k",
        "loaded",
        "not loaded",
    )


def test_the_listing_has_each_model_with_what_each_backend_tells_of_it() -> None:
    view = mesh(
        backend("a", models=("m", "n"), details={"m": SMALL}),
        backend("b", models=("m",), details={"m": LARGE}),
    )
    listing = model_listing(view)
    assert [(line.id, dict(line.details)) for line in listing] == [("m", {"a": SMALL, "b": LARGE}), ("n", {})]


def test_this_machine_itself_has_no_address() -> None:
    assert url_text(backend("this-machine", kind="local")) == "-"
    assert url_text(backend("o")) == "http://127.0.0.1:11434"
