"""Which requests a fault meets, and which faults make no sense."""

import pytest

from meshlight.simulator.faults import Fault, FaultSwitch
from simulator.clients import Json


def test_a_fault_meets_everything_unless_told_otherwise() -> None:
    assert Fault(kind="html").meets("/v1/models")


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/images/edits", "/api/chat", "/api/embeddings"])
def test_inference_is_what_makes_the_engine_work(path: str) -> None:
    assert Fault(kind="html", scope="inference").meets(path)
    assert not Fault(kind="html", scope="probe").meets(path)


@pytest.mark.parametrize("path", ["/", "/health", "/v1/models", "/api/tags", "/props"])
def test_everything_else_is_a_probe(path: str) -> None:
    assert Fault(kind="html", scope="probe").meets(path)
    assert not Fault(kind="html", scope="inference").meets(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "refuse", "count": 1},
        {"kind": "refuse", "scope": "probe"},
        {"kind": "refuse", "paths": ("/v1",)},
        {"kind": "html", "count": 0},
        {"kind": "status", "status": 99},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(wrong: Json) -> None:
    with pytest.raises(ValueError, match=r"must|closes"):
        Fault(**wrong)


def test_a_new_fault_takes_the_place_of_the_old_and_counts_anew() -> None:
    switch = FaultSwitch()
    switch.turn_on(Fault(kind="html"))
    assert switch.take("/") == Fault(kind="html")
    switch.turn_on(Fault(kind="garbage"))
    assert switch.hits == 0
    switch.turn_off()
    assert switch.take("/") is None
