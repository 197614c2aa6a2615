"""A choice that looks at what has changed alone comes to the same as one that looks at every route."""

import sys
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from fake_clock import Clock, backend
from meshlight.domain.account_limits import Limit
from meshlight.domain.backend import OK, Kind, ModelDetail, Ring
from meshlight.domain.choice import NO_PROMPT, Best, Prompt
from meshlight.domain.choice_words import why_first
from meshlight.domain.health import Health
from meshlight.domain.routing import rank, route_name
from meshlight.domain.rules import Policy, Routing, Rule
from meshlight.domain.snapshot import Node, Snapshot, index
from meshlight.mesh.route_memory import Plan, RouteMemory
from meshlight.mesh.traffic import NEWS_KEPT, Ticket, Traffic

POLICIES = st.sampled_from(("local-first", "local-first", "priority", "least-busy", "fastest"))
DETAILS = st.builds(
    ModelDetail,
    loaded=st.sampled_from((None, None, True, True, False)),
    slots=st.sampled_from((None, None, None, 2)),
    context=st.sampled_from((None, None, 300, 8_192)),
    waiting=st.sampled_from((None, None, None, None, None, 2)),
)
BACKENDS = st.tuples(
    st.sampled_from(("machine", "lan", "lan", "lan", "cloud")),
    st.sampled_from(("ollama", "openai-compatible", "openai-compatible", "openai")),
    DETAILS,
)
PROMPTS = st.builds(
    lambda tokens, answer, home: Prompt(
        tokens=tokens, answer_tokens=answer, home=("", "") if home is None else (f"b{home}", "")
    ),
    st.sampled_from((0, 0, 200, 200, 5_000)),
    st.sampled_from((0, 0, 20)),
    st.one_of(st.none(), st.integers(0, 3)),
)


Told = tuple[Ring, Kind, ModelDetail]
ALIKE: Told = ("lan", "openai-compatible", ModelDetail())


class Mesh:
    """Backends that serve `m`, with a plan that is kept."""

    def __init__(self, policy: Policy, *backends: Told) -> None:
        self.clock = Clock()
        self.traffic = Traffic()
        self.memory = RouteMemory(self.traffic, self.clock)
        nodes = {
            f"b{number}": Node(
                backend=replace(backend(f"b{number}", kind=kind), ring=ring, priority=number % 2),
                health=Health(state="healthy", reason=OK, latencies=(0.01,)),
                models=("m",),
                details={"m": detail},
                details_at=self.clock(),
            )
            for number, (ring, kind, detail) in enumerate(backends)
        }
        rules = (Rule(model="m", spill="cloud", prefer=("b1",)),)
        routing = Routing(policy=policy, rules=rules)
        self.snapshot = Snapshot(nodes=nodes, routes=index(nodes), routing=routing)
        self.plan = self.fresh()
        self.tickets: list[Ticket] = []
        self.quick = 0

    def fresh(self) -> Plan:
        ranking = rank(self.snapshot, "m", self.traffic.load, self.clock(), knowledge=self.memory)
        ready = [score for score in ranking.scores if score.tier == "ready"]
        return self.memory.plan(self.snapshot, self.snapshot.routing.policy, ready)

    def probed(self, number: int, latency_s: float) -> None:
        name = f"b{number % len(self.snapshot.nodes)}"
        node = self.snapshot.nodes[name]
        health = replace(node.health, latencies=(latency_s,))
        node = replace(node, health=health, details_at=self.clock())
        self.snapshot = replace(self.snapshot, nodes={**self.snapshot.nodes, name: node})
        assert self.memory.renew(self.plan, self.snapshot)

    def words(self, plan: Plan, best: Best) -> tuple[str, str]:
        other = plan.scores[best.second]
        first = plan.scores[best.first]
        return first.backend, why_first(
            best.step, first.facts, other.facts, route_name(self.snapshot.nodes, other)
        )

    def choose(self, prompt: Prompt) -> str:
        was_plain = self.plan.is_plain
        quick = self.words(self.plan, self.memory.choose(self.plan, prompt, 1))
        self.quick += was_plain and self.plan.is_plain
        plain = self.fresh()
        assert quick == self.words(plain, self.memory.choose_among_all(plain, prompt, 1))
        return quick[0]

    def begin(self, number: int) -> None:
        self.tickets.append(self.traffic.reserve(f"b{number % len(self.snapshot.nodes)}", "m"))

    def end(self, number: int, seconds: float, prompt: int, *, learns: bool) -> None:
        if self.tickets:
            ticket = self.tickets.pop(number % len(self.tickets))
            ticket.first_byte(seconds / 4)
            if learns:
                self.memory.learn(ticket, seconds, (prompt, 30))
            ticket.close("ok")


NUMBERS = st.integers(0, 7)
USUAL = (
    st.tuples(st.just("choose"), PROMPTS),
    st.tuples(st.just("choose"), PROMPTS),
    st.tuples(st.just("begin"), NUMBERS),
    st.tuples(
        st.just("end"),
        NUMBERS,
        st.sampled_from((0.1, 0.2, 0.3, 5.0)),
        st.sampled_from((10, 900)),
        st.booleans(),
    ),
    st.tuples(st.just("probe"), NUMBERS, st.sampled_from((0.01, 0.02))),
    st.tuples(st.just("wait"), st.sampled_from((0.01, 1.0, 50.0, 700.0))),
)
SELDOM = (
    st.tuples(st.just("answered"), NUMBERS),
    st.tuples(st.just("keeps"), NUMBERS, st.sampled_from((0.0, 5.0, -1.0))),
    st.tuples(st.just("limits"), NUMBERS),
    st.tuples(st.just("queue"), st.integers(0, 2)),
)


def play(mesh: Mesh, event: Any) -> None:
    """`event` is a tuple; what it holds depends on its first part."""
    match event:
        case ("choose", prompt):
            mesh.begin(int(mesh.choose(prompt)[1:]))
        case ("begin", number):
            mesh.begin(number)
        case ("end", number, seconds, prompt, learns):
            mesh.end(number, seconds, prompt, learns=learns)
        case ("probe", number, latency_s):
            mesh.probed(number, latency_s)
        case ("wait", seconds):
            mesh.clock.now += seconds
        case ("answered", number):
            mesh.memory.answered(mesh.plan.scores[number % len(mesh.plan.scores)])
        case ("keeps", number, seconds):
            mesh.memory.keeps(mesh.plan.scores[number % len(mesh.plan.scores)], seconds)
        case ("limits", number):
            mesh.memory.learn_limits(f"b{number % len(mesh.snapshot.nodes)}", {"requests": Limit(left=0)})
        case ("queue", count):
            mesh.traffic.wait("m", count)


@settings(max_examples=60)
@given(
    POLICIES, st.lists(BACKENDS, min_size=2, max_size=7), st.lists(st.one_of(*USUAL, *SELDOM), max_size=60)
)
def test_it_is_the_same_choice_whatever_happens(policy: Policy, backends: Any, events: Any) -> None:
    mesh = Mesh(policy, *backends)
    for event in events:
        play(mesh, event)


PLAIN = st.tuples(
    st.sampled_from(("lan", "lan", "lan", "machine", "cloud")),
    st.sampled_from(("openai-compatible", "openai-compatible", "openai")),
    st.builds(
        ModelDetail, slots=st.sampled_from((None, None, 2)), context=st.sampled_from((None, None, 300, 8_192))
    ),
)


@settings(max_examples=60)
@given(
    POLICIES,
    st.lists(PLAIN, min_size=2, max_size=7),
    st.lists(st.one_of(*USUAL), min_size=20, max_size=80),
)
def test_it_is_the_same_choice_among_plain_routes(policy: Policy, backends: Any, events: Any) -> None:
    mesh = Mesh(policy, *backends)
    for event in events:
        play(mesh, event)


@pytest.mark.plain  # compiled functions call each other without telling a profiler
def test_a_choice_among_many_looks_at_few() -> None:
    mesh = Mesh("local-first", *[ALIKE] * 200)
    for prompt in (NO_PROMPT, Prompt(home=("b1", ""))):
        for _ in range(3):
            mesh.memory.choose(mesh.plan, prompt, 1)
        for number in range(3):
            mesh.begin(number)
        calls = calls_of(mesh, prompt)
        assert calls["put"] == 3
        assert calls.total() < 100


def calls_of(mesh: Mesh, prompt: Prompt) -> Counter[str]:
    """Choose, and return the functions that are called for it."""
    calls = Counter[str]()
    sys.setprofile(lambda frame, event, _: calls.update([frame.f_code.co_name] if event == "call" else ()))
    try:
        mesh.memory.choose(mesh.plan, prompt, 1)
    finally:
        sys.setprofile(None)
    return calls


def test_too_much_news_are_a_look_at_all_of_them() -> None:
    mesh = Mesh("local-first", *[ALIKE] * 5)
    for _ in range(3):
        mesh.choose(NO_PROMPT)
    for number in range(NEWS_KEPT):
        mesh.begin(number)
    mesh.choose(NO_PROMPT)
    assert mesh.plan.is_plain


def test_a_busy_place_that_takes_too_long_is_left() -> None:
    mesh = Mesh("local-first", ("machine", *ALIKE[1:]), *[ALIKE] * 4)
    for number in range(5):
        for _ in range(4):
            mesh.begin(number)
            mesh.end(0, 0.3 if number else 0.5, 10, learns=True)
    prompt = Prompt(tokens=10)
    assert {mesh.choose(prompt) for _ in range(3)} == {"b1"}  # the rule prefers it
    mesh.snapshot = replace(mesh.snapshot, routing=Routing(rules=(Rule(model="m", spill="cloud"),)))
    mesh.plan = mesh.fresh()
    assert {mesh.choose(prompt) for _ in range(3)} == {"b0"}
    mesh.begin(0)
    assert mesh.choose(prompt) == "b1"
    assert mesh.plan.is_plain


def test_what_was_seen_long_ago_does_not_count_any_more() -> None:
    mesh = Mesh("local-first", *[ALIKE] * 5)
    mesh.snapshot = replace(mesh.snapshot, routing=Routing())
    mesh.plan = mesh.fresh()
    chosen: list[str | None] = []
    for seconds in (0.1, 5.0):  # the first is usually the fastest, and slow for a while
        for number in range(5):
            for _ in range(9):
                mesh.begin(number)
                mesh.end(0, 0.2 if number else seconds, 10, learns=True)
        chosen = [mesh.choose(NO_PROMPT) for _ in range(3)]
    assert chosen == ["b1"] * 3
    mesh.clock.now += 1_000.0
    assert mesh.choose(NO_PROMPT) == "b0"
