from collections.abc import Callable
from typing import Any

import pytest

from api_client.local_api import LocalApi
from desktop.own_models import GB, LLAMA_SERVER, NO_LLAMA_SERVER, download, everything, failed, local, model
from desktop.samples import backend, mesh
from meshlight.cli.doctor_checks import check_known_engines, check_local_models
from meshlight.domain.backend import Reason
from meshlight.domain.local_views import StoreView

Type = Callable[..., Any]


def test_what_runs_models_and_where_they_were_looked_for_is_told() -> None:
    found = check_local_models(local(model()))
    assert [(one.level, one.message) for one in found] == [
        ("ok", "Models can be run here by llama-server b11434."),
        ("ok", "Looked for models in: Meshlight (1), Hugging Face (2)."),
        ("ok", "1 model of this machine's own, and all fit."),
    ]


@pytest.mark.parametrize(
    ("models", "text"),
    [
        ((), "Nothing is installed here that can run models."),
        ((model(),), "This machine has 1 model and nothing to run them."),
    ],
)
def test_if_nothing_can_run_models_each_runner_says_why(models: Any, text: str) -> None:
    first, second, *_ = check_local_models(local(*models, runners=(NO_LLAMA_SERVER,)))
    assert (first.level, first.message, first.fix) == ("look", text, "")
    assert (second.message, second.fix) == ("llama-server is not installed.", "brew install llama.cpp")
    assert "meshlight models pull engine" in check_local_models(local(*models, runners=()))[0].fix
    usable = check_local_models(local(*models, runners=(NO_LLAMA_SERVER, LLAMA_SERVER)))
    assert "not installed" not in str(usable)


def test_no_model_at_all_is_answered_with_the_one_to_start_with() -> None:
    assert check_local_models(local())[-1].fix == "Get a small one with: meshlight models pull starter"
    coming = check_local_models(local(downloads=(download(),)))
    assert {one.level for one in coming} == {"ok"}


def test_models_that_do_not_fit_or_failed_are_named_with_the_numbers() -> None:
    big = [model(f"big-{n}", need_bytes=34 * GB, fits="never") for n in range(7)]
    broken = download(state="failed", reason=Reason("disk", "The disk is full.", "Make room."))
    *_, fit, load, fetch = check_local_models(local(*big, failed("ill"), downloads=(broken,)))
    assert fit.message.startswith("Models can use 20 GB of memory here, too little for: big-0 (34 GB), big-1")
    assert fit.message.endswith("big-4 (34 GB) and 2 more.")
    assert (load.message, load.fix) == ("ill: The file is incomplete.", "Download it again.")
    assert fetch.message == "The download of Qwen/Qwen3-4B-GGUF:Q4_K_M failed: The disk is full."


def test_a_store_that_is_not_there_is_worth_a_look() -> None:
    stores = (StoreView(store="folder", label="A folder of yours", note="The drive is not there."),)
    found = check_local_models(local(model(), stores=stores))
    assert ("look", "A folder of yours: The drive is not there.") in [
        (one.level, one.message) for one in found
    ]


def test_own_models_that_are_switched_off_are_no_problem() -> None:
    [found] = check_local_models(local(enabled=False))
    assert found.level == "ok"


def test_this_machine_s_models_are_no_engine_on_a_port_and_make_none_missed() -> None:
    here = backend("this-machine", name="This machine", kind="local")
    assert check_known_engines(mesh(here)) == []
    [missed] = check_known_engines(mesh(backend("this-machine", kind="local", models=())))
    assert "meshlight models pull starter" in missed.fix


def test_the_doctor_asks_the_service_for_them(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/snapshot", mesh())
    api.says("GET", "/mesh/models", everything())
    out = " ".join(type_words("doctor").out.split())
    assert "✓ Models can be run here by llama-server b11434." in out
    assert "1 file can't be used; see why with: meshlight models list" in out
    api.fails("GET", "/mesh/models", 404, "not_found", "There is nothing at /mesh/models.")
    assert "/mesh/models" not in type_words("doctor").out
