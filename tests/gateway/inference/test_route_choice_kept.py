"""What is remembered of a choice holds for as long as a ranking anew would come to the same, and no longer."""

import asyncio
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fake_clock import Clock, backend
from meshlight.backends.base import Probe
from meshlight.domain.backend import ModelDetail, Reason
from meshlight.domain.errors import MeshlightError
from meshlight.domain.health import Answered, Broke, Failed, Unreached
from meshlight.domain.rules import Routing, Rule
from meshlight.gateway.inference.choice import Choice
from meshlight.gateway.inference.request import Head, InferenceRequest
from meshlight.gateway.inference.route_choice import RouteChooser
from meshlight.mesh.registry import Registry
from meshlight.mesh.route_memory import RouteMemory
from meshlight.mesh.traffic import Traffic

DOWN = Reason("refused", "Connection refused.", "")
NAMES = st.sampled_from(("a", "b", "c", "d", "e"))
ROUTINGS = (
    Routing(),
    Routing(rules=(Rule(model="m", bound="machine"),)),
    Routing(rules=(Rule(model="m", spill="cloud", prefer=("c",)),)),
    Routing(aliases={"x": ("gone", "m"), "m": ("gone", "m")}),
)
EVENTS = st.one_of(
    st.tuples(st.just("ask"), st.sampled_from(("m", "m", "m", "n", "a/m", "x", "gone"))),
    st.tuples(st.just("ask"), st.sampled_from(("m", "m", "m", "n", "a/m", "x", "gone"))),
    st.tuples(
        st.just("probe"),
        NAMES,
        st.sampled_from((0.01, 0.02, 0.5)),
        st.sampled_from((("m",), ("m",), ("m",), ("m", "n"), ("n",), ("gone", "m"))),
        st.sampled_from(
            (None, None, ModelDetail(loaded=False), ModelDetail(slots=1), ModelDetail(context=99))
        ),
    ),
    st.tuples(st.just("fact"), NAMES, st.sampled_from((Failed(DOWN), Broke(DOWN), Unreached(DOWN)))),
    st.tuples(st.just("part"), NAMES),
    st.tuples(st.just("put"), NAMES, st.sampled_from(("machine", "lan", "cloud")), st.booleans()),
    st.tuples(st.just("remove"), NAMES),
    st.tuples(st.just("rules"), st.sampled_from(ROUTINGS)),
    st.tuples(st.just("busy"), NAMES),
    st.tuples(st.just("wait"), st.sampled_from((0.5, 40.0))),
)


class Mesh:
    """A chooser that remembers, on a registry that changes."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.registry = Registry(self.clock)
        self.traffic = Traffic()
        self.memory = RouteMemory(self.traffic, self.clock)
        self.chooser = self.fresh()

    def fresh(self) -> RouteChooser:
        return RouteChooser(self.registry, self.traffic, self.memory, self.clock)

    def play(self, event: Any) -> None:
        match event:
            case ("ask", name):
                self.ask(name)
            case ("probe", name, latency_s, models, detail) if name in self.registry.snapshot.nodes:
                details = {} if detail is None else dict.fromkeys(models, detail)
                self.registry.record_probe(
                    name, Probe(fact=Answered(latency_s), models=models, details=details)
                )
            case ("fact", name, fact):
                self.registry.record_fact(name, fact)
            case ("part", name):
                self.registry.record_part_fact(name, "m", Unreached(DOWN))
            case ("put", name, ring, enabled):
                self.registry.put(replace(backend(name), ring=ring, enabled=enabled))
            case ("remove", name):
                self.registry.remove(name)
            case ("rules", routing):
                self.registry.route_by(routing)
            case ("busy", name) if name in self.registry.snapshot.nodes:
                self.traffic.reserve(name, "m")
            case ("wait", seconds):
                self.clock.now += seconds

    def ask(self, model: str) -> None:
        body = b'{"model":"%b","messages":[{"role":"user","content":"Hi"}]}' % model.encode()
        inbound = InferenceRequest(
            operation="chat/completions",
            target="/v1/chat/completions",
            headers=[],
            content_type=b"application/json",
            body=body,
            head=Head(model=model),
        )
        anew = told(self.fresh(), inbound)
        at_once = self.chooser.at_once(inbound, 1)
        assert at_once is None or words(at_once) == anew
        assert told(self.chooser, inbound) == anew


def told(chooser: RouteChooser, inbound: InferenceRequest) -> object:
    """Return where a request goes and why, or the error."""
    try:
        return words(asyncio.run(chooser.first(inbound, 1)))
    except MeshlightError as error:
        return type(error)


def words(found: Any) -> object:
    score, why = (found.score, found.why) if isinstance(found, Choice) else (found, "")
    facts = score.facts
    return score.backend, score.model, score.fallback, facts.slots, facts.loaded, facts.context, why


@settings(max_examples=60)
@given(st.lists(EVENTS, min_size=10, max_size=50))
def test_it_is_what_a_ranking_anew_comes_to(events: list[Any]) -> None:
    mesh = Mesh()
    for name in "abc":
        mesh.play(("put", name, "lan", True))
        mesh.play(("probe", name, 0.01, ("m",), None))
    for event in events:
        mesh.play(event)


def test_news_of_other_backends_leave_it() -> None:
    mesh = Mesh()
    for name, models in (("a", ("m",)), ("b", ("m",)), ("c", ("n",)), ("d", ("n", "m2"))):
        mesh.play(("put", name, "lan", True))
        mesh.play(("probe", name, 0.01, models, None))
    for name in ("m", "m2"):
        mesh.ask(name)
    plans = dict(mesh.chooser._known)
    for name, latency_s in (("c", 0.1), ("a", 0.2), ("b", 0.3), ("c", 0.5)):
        mesh.play(("probe", name, latency_s, ("n",) if name == "c" else ("m",), None))
        for asked in ("m", "m2"):
            mesh.ask(asked)
    assert mesh.chooser._known == plans


def test_a_part_that_fell_is_not_used() -> None:
    mesh = Mesh()
    for name in "ab":
        mesh.play(("put", name, "lan", True))
        mesh.play(("probe", name, 0.01, ("m",), None))
    mesh.ask("m")
    mesh.play(("part", "a"))
    mesh.ask("m")


def test_an_alias_whose_first_model_comes_up_stands_for_that() -> None:
    mesh = Mesh()
    for name, models in (("a", ("m",)), ("b", ("n",))):
        mesh.play(("put", name, "lan", True))
        mesh.play(("probe", name, 0.01, models, None))
    mesh.play(("rules", ROUTINGS[3]))
    mesh.ask("m")
    mesh.play(("probe", "b", 0.01, ("gone",), None))
    mesh.ask("m")
