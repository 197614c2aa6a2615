"""Nothing is lost, nothing is done twice, and the choice is better than the usual ones."""

import pytest

from simulation.demand import MODELS
from simulation.gateways import Meshlight
from simulation.run import GATEWAYS, Run, table


@pytest.mark.parametrize("name", GATEWAYS)
def test_every_request_is_done_once_and_in_its_turn(name: str) -> None:
    run = Run(GATEWAYS[name], seed=3, number=8, requests=200)
    outcome = run.outcome()
    assert len(run.finished) == len({id(request) for request in run.finished}) == 200
    assert len(outcome.times) == 200
    turns: dict[int, list[object]] = {}
    for request in run.finished:
        turns.setdefault(request.conversation.number, []).append(request.turn)
    assert all(turns[r.conversation.number] == list(r.conversation.turns) for r in run.finished)
    if isinstance(run.gateway, Meshlight):
        assert not any(run.gateway.queues.waiting(model.name) for model in MODELS)
        assert not any(run.gateway.traffic.load.values())


def test_no_engine_that_tells_its_slots_gets_more_than_it_has() -> None:
    run = Run(GATEWAYS["Meshlight: local-first"], seed=1, number=8, requests=300)
    run.outcome()
    told = [machine for machine in run.machines if machine.make.tells_slots]
    assert told
    assert all(machine.most_taken <= machine.make.slots for machine in told)


def test_the_same_seed_gives_the_same_numbers() -> None:
    first, second = (Run(GATEWAYS["Meshlight: local-first"], 5, 6, 100).outcome() for _ in range(2))
    assert first == second


def test_the_choice_is_sooner_done_and_keeps_conversations_where_they_are() -> None:
    usual, best = (
        Run(GATEWAYS[name], 1, 12, 600).outcome() for name in ("least busy", "Meshlight: local-first")
    )
    assert best.percentile_s(0.95) < 0.85 * usual.percentile_s(0.95)
    assert best.mean_s < usual.mean_s
    assert best.moved * 3 < usual.moved
    assert best.loads * 3 < usual.loads
    assert table({"usual": usual, "best": best}, "both").row_count == 2
