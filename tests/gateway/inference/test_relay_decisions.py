"""What is told of where requests went: in the words of their answers, and nothing where there was no choice."""

from functools import partial

from gateway.rig import Rig
from meshlight.backends.base import Probe
from meshlight.domain.backend import ModelDetail
from meshlight.domain.choice_words import ONLY_ONE
from meshlight.domain.health import Answered
from meshlight.domain.route_score import RouteScore
from meshlight.domain.rules import Routing
from meshlight.gateway.inference.choice import AFTER_FAILURE
from meshlight.gateway.inference.route_choice import decision
from meshlight.simulator.engine import SimulatedEngine

WHY = "x-meshlight-why"
TURNS = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]


def tell(rig: Rig, name: str, *, loaded: bool) -> None:
    details = {"m": ModelDetail(loaded=loaded)}
    rig.registry.record_probe(name, Probe(fact=Answered(0.01), details=details))


async def test_a_decision_has_the_word_of_its_answer_and_says_what_stayed_and_was_warm() -> None:
    rig = Rig(Routing())
    async with SimulatedEngine("ollama", "a", ["m"]) as a, SimulatedEngine("ollama", "b", ["m"]) as b:
        for engine, loaded in ((a, False), (b, True)):
            rig.add(engine)
            tell(rig, engine.name, loaded=loaded)
        answers = [await rig.send(messages=TURNS[:1]), await rig.send(messages=[*TURNS, TURNS[0]])]
    told = rig.traffic.decisions.drain([])
    assert [d.why for d in told] == [answer.headers[WHY] for answer in answers]
    assert [(d.backend, d.model, d.loaded, d.kept) for d in told] == [
        ("b", "m", True, None),
        ("b", "m", True, True),
    ]


async def test_a_second_attempt_and_a_cold_model_are_told() -> None:
    rig = Rig()
    async with SimulatedEngine("ollama", "a", ["m"]) as a, SimulatedEngine("ollama", "b", ["m"]) as b:
        await a.fault("status", status=500, scope="inference")
        rig.add(a)
        rig.add(b)
        tell(rig, "b", loaded=False)
        await rig.send()
    first, second = rig.traffic.decisions.drain([])
    assert (first.backend, first.loaded) == ("a", None)
    assert (second.backend, second.why, second.loaded) == ("b", AFTER_FAILURE, False)


async def test_an_engine_that_loaded_a_model_for_a_request_is_asked_at_once_what_is_in_memory() -> None:
    rig = Rig()
    async with SimulatedEngine("ollama", "a", ["m"]) as engine:
        engine.facts.loaded.clear()
        rig.add(engine)
        read = partial(rig.links.probe, rig.links.put(rig.registry.node("a").backend), None)
        rig.registry.record_probe("a", await read())
        await rig.send()
        assert rig.prober.probed_soon == ["a"]
        rig.registry.record_probe("a", await read())
        assert rig.registry.node("a").details["m"].loaded
        await rig.send()
    assert rig.prober.probed_soon == ["a"]


def test_a_fallback_is_told_with_its_reason_as_one_line() -> None:
    score = RouteScore(backend="a", model="n", tier="ready", why="", fallback="m is\x1b[31m\n down.")
    told = decision(score, None, is_cold=False, is_first=True, waited_s=0.0)
    assert (told.model, told.why, told.loaded, told.kept) == ("n", "m is down", None, None)


async def test_the_only_route_of_a_model_is_not_recorded_but_worked_out() -> None:
    rig = Rig()
    async with SimulatedEngine("ollama", "a", ["m"]) as a:
        rig.add(a)
        for _ in range(3):
            await rig.send()
    assert rig.traffic.decisions.drain([]) == ()
    [told] = rig.traffic.decisions.drain(rig.traffic.drain() or ())
    assert (told.backend, told.why, told.count) == ("a", ONLY_ONE, 3)
