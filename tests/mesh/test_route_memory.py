"""What is known of routes: told by engines, learned from answers, never older than a look at the engine since."""

import time

import msgspec
import pytest

from fake_clock import Clock, backend
from meshlight.domain.account_limits import Limit
from meshlight.domain.backend import OK, Kind, ModelDetail
from meshlight.domain.choice import NO_PROMPT, Prompt
from meshlight.domain.health import Health
from meshlight.domain.route_score import RouteScore
from meshlight.domain.routing import Ranking, rank
from meshlight.domain.rules import Policy, Routing
from meshlight.domain.snapshot import Node, Snapshot, index
from meshlight.mesh.route_memory import (
    CROWDED,
    LOAD_GUESS_S,
    OWN_QUEUE_S,
    ROUTES_MAX,
    TICK_S,
    RouteMemory,
)
from meshlight.mesh.slow_routes import SlowRoute, slow_lines
from meshlight.mesh.traffic import Traffic


class Store:
    """A file in memory."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.writes = 0

    def read(self) -> bytes:
        return self.data

    def write(self, data: bytes) -> None:
        self.data = data
        self.writes += 1

    write_now = write


class Mesh:
    """Backends a, b, … that serve `m`, all healthy and alike, with what is remembered of them."""

    def __init__(self, *details: ModelDetail, kind: Kind = "ollama", policy: Policy = "local-first") -> None:
        self.clock = Clock()
        self.traffic = Traffic()
        self.memory = RouteMemory(self.traffic, self.clock)
        self.kind = kind
        self.policy = policy
        self.look(*details)

    def look(self, *details: ModelDetail) -> None:
        """The engines have been looked at now."""
        nodes = {
            name: Node(
                backend=backend(name, kind=self.kind),
                health=Health(state="healthy", reason=OK, latencies=(0.01,)),
                models=("m",),
                details={"m": detail},
                details_at=self.clock(),
            )
            for name, detail in zip("abcdef", details, strict=False)
        }
        self.snapshot = Snapshot(nodes=nodes, routes=index(nodes), routing=Routing(policy=self.policy))

    def rank(self, prompt: Prompt = NO_PROMPT) -> Ranking:
        load, now = self.traffic.load, self.clock()
        return rank(self.snapshot, "m", load, now, knowledge=self.memory, prompt=prompt)

    def first(self, prompt: Prompt = NO_PROMPT) -> str:
        """The first route, as a ranking and as a plan have it."""
        ranking = self.rank(prompt)
        plan = self.memory.plan(self.snapshot, self.policy, ranking.scores)
        chosen = plan.scores[self.memory.choose(plan, prompt, 1).first]
        assert chosen.backend == ranking.scores[0].backend
        return chosen.backend

    def score(self, name: str) -> RouteScore:
        return next(score for score in self.rank().scores if score.backend == name)

    def answer(self, name: str, first_s: float = 0.1, total_s: float = 1.0, tokens: int = 50) -> None:
        """Let a backend answer a short prompt."""
        ticket = self.traffic.reserve(name, "m")
        ticket.first_byte(first_s)
        self.memory.learn(ticket, total_s, (10, tokens))
        ticket.close("ok")


WARM, COLD, SILENT = ModelDetail(loaded=True), ModelDetail(loaded=False), ModelDetail()


def test_the_load_time_that_an_engine_tells_is_expected() -> None:
    told, untold = ModelDetail(loaded=False, load_s=3.0), ModelDetail(loaded=False)
    mesh = Mesh(WARM, told, untold)
    for _ in range(20):
        mesh.answer("a")
        mesh.clock.pass_time(1.0)
    known = {score.backend: score.facts.load_s for score in mesh.rank(Prompt(tokens=1_000)).scores}
    assert (known["b"], known["c"]) == (3.0, LOAD_GUESS_S)


def test_the_warm_one_is_first_and_says_so() -> None:
    mesh = Mesh(COLD, WARM)
    assert mesh.first() == "b"
    assert [score.why for score in mesh.rank().scores] == ["Warm here.", "After b: it has to load the model."]


def test_an_answer_shows_that_the_model_is_loaded_until_the_engine_lets_it_go() -> None:
    mesh = Mesh(COLD, COLD)
    mesh.clock.pass_time(1)
    score = mesh.score("b")
    assert mesh.memory.is_cold(score)
    mesh.memory.answered(score)
    assert not mesh.memory.is_cold(mesh.score("b"))
    assert (mesh.score("b").facts.loaded, mesh.first()) == (True, "b")
    mesh.clock.pass_time(299)
    assert mesh.first() == "b"
    mesh.clock.pass_time(2)
    assert mesh.score("b").facts.loaded is False


def test_a_look_at_the_engine_counts_more_than_an_answer_before_it() -> None:
    mesh = Mesh(COLD, COLD)
    mesh.clock.pass_time(1)
    mesh.answer("b")
    assert mesh.first() == "b"
    mesh.clock.pass_time(1)
    mesh.look(COLD, COLD)
    assert mesh.score("b").facts.loaded is False


@pytest.mark.parametrize(
    ("keep_s", "still_warm_s", "cold_s"),
    [(0.0, None, 0.0), (2.0, 1.9, 2.0), (600.0, 599.0, 600.0), (-1.0, 1e6, None)],
)
def test_a_request_that_says_how_long_the_model_stays_sets_the_end_of_its_warmth(
    keep_s: float, still_warm_s: float | None, cold_s: float | None
) -> None:
    mesh = Mesh(ModelDetail(loaded=True), ModelDetail(loaded=False))
    a = mesh.score("a")
    mesh.clock.pass_time(1)
    ticket = mesh.traffic.reserve("a", "m")
    mesh.memory.keeps(a, keep_s)
    assert mesh.score("a").facts.loaded, "while an answer is written"
    ticket.close("ok")
    for after_s, is_loaded in ((still_warm_s, True), (cold_s, False)):
        if after_s is not None:
            mesh.clock.now = 1001.0 + after_s
            assert mesh.score("a").facts.loaded is is_loaded
    mesh.look(ModelDetail(loaded=True), ModelDetail(loaded=False))
    assert mesh.score("a").facts.loaded, "a look at the engine counts more"


def test_the_end_that_comes_after_a_look_counts_and_a_new_load_starts_anew() -> None:
    mesh = Mesh(ModelDetail(loaded=True), ModelDetail(loaded=True))
    mesh.memory.keeps(mesh.score("a"), 12.0)
    mesh.clock.pass_time(10)
    mesh.look(ModelDetail(loaded=True), ModelDetail(loaded=True))
    assert mesh.first() in {"a", "b"}
    mesh.clock.pass_time(2)
    assert mesh.first() == "b"
    mesh.look(ModelDetail(loaded=False), ModelDetail(loaded=False))
    mesh.clock.pass_time(1)
    mesh.memory.answered(mesh.score("a"))
    mesh.clock.pass_time(200)
    assert mesh.score("a").facts.loaded, "Ollama's usual five minutes"


def test_an_engine_with_a_queue_of_its_own_is_full_for_a_while_and_not_held_back() -> None:
    mesh = Mesh(ModelDetail(loaded=True, running=8, waiting=5), ModelDetail(loaded=True), kind="vllm")
    assert mesh.first() == "b"
    facts = mesh.score("a").facts
    assert (facts.is_full, facts.slots, facts.waiting) == (True, 8, 6)
    assert mesh.score("a").why == "After b: it is full."
    mesh.clock.pass_time(OWN_QUEUE_S)
    assert not mesh.score("a").facts.is_full


def test_an_account_whose_limit_is_used_up_is_last_until_it_takes_one_again() -> None:
    mesh = Mesh(ModelDetail(), ModelDetail(), kind="openai")
    mesh.memory.learn_limits("a", {"requests": Limit(0, 2, 60.0)})
    assert mesh.first() == "b"
    assert mesh.score("b").why == "The limit of a is used up."
    assert mesh.score("a").why == "After b: the limit of its account is used up for 30 s."
    mesh.clock.pass_time(30)
    assert mesh.first() == "a"
    mesh.memory.learn_limits("a", {"requests": Limit(0, 2, 60.0)})
    assert mesh.first() == "b"
    mesh.memory.forget("a")
    assert mesh.first() == "a"


def test_a_server_of_one_model_is_always_warm() -> None:
    mesh = Mesh(SILENT, kind="mlx")
    assert mesh.score("a").facts.loaded is True
    assert Mesh(SILENT, kind="openai").score("a").facts.loaded is None


def test_a_warm_one_that_is_full_is_left() -> None:
    mesh = Mesh(ModelDetail(loaded=True, slots=1), ModelDetail(loaded=True, slots=2))
    mesh.traffic.reserve("a", "m")
    assert mesh.first() == "b"
    assert mesh.rank().scores[0].why == "A is full."


def test_a_full_one_that_would_be_first_is_told_where_two_others_are_left() -> None:
    mesh = Mesh(*[ModelDetail(loaded=True, slots=1)] * 3)
    mesh.traffic.reserve("a", "m")
    plan = mesh.memory.plan(mesh.snapshot, mesh.policy, mesh.rank().scores)
    told = mesh.memory.choose(plan, NO_PROMPT, 1)
    assert (plan.scores[told.first].backend, plan.scores[told.second].backend, told.step) == (
        "b",
        "a",
        "slot",
    )
    assert [score.why for score in mesh.rank().scores] == [
        "A is full.",
        "After b: as good, they take turns.",
        "After c: it is full.",
    ]


def test_a_conversation_is_kept_until_its_place_is_full_or_cold() -> None:
    mesh = Mesh(ModelDetail(loaded=True, slots=1), ModelDetail(loaded=True, slots=1))
    at_home = Prompt(home=("b", ""))
    assert mesh.first(at_home) == "b"
    ticket = mesh.traffic.reserve("b", "m")
    assert mesh.first(at_home) == "a"
    ticket.close("ok")
    mesh.look(WARM, COLD)
    assert mesh.first(at_home) == "a", "what was unloaded has no cache"


def test_a_conversation_is_not_kept_where_many_more_are() -> None:
    mesh = Mesh(WARM, WARM)
    at_home = Prompt(home=("b", ""))
    for _ in range(CROWDED - 1):
        mesh.traffic.reserve("b", "m")
    assert mesh.first(at_home) == "b"
    mesh.traffic.reserve("b", "m")
    assert mesh.first(at_home) == "a"


def test_a_prompt_goes_where_it_fits() -> None:
    mesh = Mesh(ModelDetail(loaded=True, context=4_096), ModelDetail(loaded=False, context=131_072))
    assert mesh.first(Prompt(tokens=1_000)) == "a"
    big = Prompt(tokens=3_000, answer_tokens=2_000)
    assert mesh.first(big) == "b"
    assert [score.why for score in mesh.rank(big).scores] == [
        "Its context of 128k holds the prompt.",
        "After b: its context of 4k is too small.",
    ]


def test_a_place_that_slows_down_loses_its_requests_and_gets_them_back() -> None:
    mesh = Mesh(WARM, WARM)
    speed = {"a": 1.0, "b": 1.5}

    def send(count: int) -> list[str]:
        went = []
        for _ in range(count):
            went.append(mesh.first())
            seconds = speed[went[-1]]
            mesh.clock.pass_time(1)
            mesh.answer(went[-1], seconds, seconds, 3)
        return went

    assert "a" in send(10)
    speed["a"] = 5.0
    assert send(10)[-1] == "b"
    assert set(send(20)) == {"b"}
    speed["a"] = 1.0
    mesh.clock.pass_time(300)
    assert set(send(10)[-5:]) == {"a"}


def test_a_conversation_leaves_a_place_that_has_become_slow() -> None:
    mesh = Mesh(ModelDetail(loaded=True, slots=2), ModelDetail(loaded=True, slots=2))
    for _ in range(5):
        mesh.answer("a")
        mesh.clock.pass_time(30)
    at_home = Prompt(tokens=10, home=("a", ""))
    assert mesh.first(at_home) == "a"
    for _ in range(9):
        mesh.answer("a", 2.0, 20.0)
    assert mesh.first(at_home) == "b"


def test_those_that_wait_in_the_queue_make_the_wait_longer() -> None:
    mesh = Mesh(ModelDetail(loaded=True, slots=1), COLD)
    for _ in range(3):
        mesh.answer("a")
    mesh.traffic.reserve("a", "m")
    assert mesh.first() == "a"
    mesh.traffic.wait("m", 40)
    assert mesh.first() == "b"


def test_a_crowd_is_not_taken_for_a_slow_place() -> None:
    mesh = Mesh(ModelDetail(loaded=True, slots=8), ModelDetail(loaded=True, slots=8))
    for _ in range(5):
        mesh.answer("a")
        mesh.clock.pass_time(30)
    others = [mesh.traffic.reserve("a", "m") for _ in range(7)]
    for _ in range(9):
        mesh.answer("a", 0.18, 1.8)
    for other in others:
        other.close("ok")
    assert not mesh.memory._speeds["a", "", "m"].slow_since
    assert mesh.first(Prompt(tokens=10, home=("a", ""))) == "a"


def test_a_slow_place_is_told_after_five_minutes() -> None:
    mesh = Mesh(WARM)
    for _ in range(9):
        mesh.answer("a", 0.5, 0.5, 3)
    assert mesh.memory.slow() == []
    found: list[SlowRoute] = []
    for _ in range(35):
        mesh.clock.pass_time(10)
        mesh.answer("a", 2.0, 2.0, 3)
        found = mesh.memory.slow()
    assert found == [SlowRoute("a", "", "m", found[0].since)]


def test_who_is_slow_is_told_until_it_is_not() -> None:
    mesh, told = Mesh(WARM), list[list[str]]()
    mesh.memory = RouteMemory(
        mesh.traffic, mesh.clock, None, mesh.clock.later, lambda slow: told.append([r.backend for r in slow])
    )
    for seconds in [0.5] * 7 + [2.0] * 50:
        for _ in range(9):
            mesh.answer("a", seconds, seconds, 3)
        mesh.clock.pass_time(10)
    assert (told[0], told[-1]) == ([], ["a"])
    mesh.clock.pass_time(600)
    assert told[-1] == [], "what is fresh no more is not slow"
    assert mesh.clock.armed == []


def test_the_sentence_says_since_when() -> None:
    slow = [SlowRoute("a", "", "n", 500.0), SlowRoute("a", "", "m\x1b", 100.0)]
    since = time.strftime("%H:%M", time.localtime(1_000_000.0 - 900.0))
    assert slow_lines(slow, 1_000.0, 1_000_000.0) == {
        "a": f"m has been at less than half its usual speed since {since}."
    }


def test_a_cold_place_is_used_where_loading_is_sooner_than_waiting() -> None:
    mesh = Mesh(ModelDetail(loaded=True, slots=1), ModelDetail(loaded=False, slots=1))
    for name in ("a", "b"):
        for _ in range(3):
            mesh.answer(name, 0.5, 30.0)
    mesh.clock.pass_time(1)
    mesh.look(ModelDetail(loaded=True, slots=1), ModelDetail(loaded=False, slots=1))
    assert mesh.first() == "a"
    mesh.traffic.reserve("a", "m")
    assert mesh.first() == "b", "20 s to load, and not 180 s to wait"
    assert "is full" in mesh.rank().scores[0].why


def test_each_model_of_an_engine_has_slots_of_its_own() -> None:
    mesh = Mesh(ModelDetail(loaded=True, slots=1), ModelDetail(loaded=True, slots=1))
    nodes = {n: msgspec.structs.replace(node, models=("m", "n")) for n, node in mesh.snapshot.nodes.items()}
    mesh.snapshot = Snapshot(nodes=nodes, routes=index(nodes))
    mesh.traffic.reserve("a", "n")
    assert not mesh.score("a").facts.is_full
    nodes["a"] = msgspec.structs.replace(
        nodes["a"], backend=msgspec.structs.replace(nodes["a"].backend, slots=1)
    )
    assert mesh.score("a").facts.is_full, "what the user sets is for all models together"


def test_speeds_are_kept_over_a_restart_and_written_once_a_minute() -> None:
    clock, traffic, store = Clock(), Traffic(), Store()
    memory = RouteMemory(traffic, clock, store, clock.later)
    ticket = traffic.reserve("a", "m")
    ticket.first_byte(0.5)
    for number in range(3):
        memory.learn(ticket, 0.5, (10, 3))
        memory.slow()
        assert (store.writes, len(clock.armed)) == (0, 1), number
    clock.pass_time(TICK_S)
    assert (store.writes, clock.armed) == (1, [])
    memory.close()
    assert store.writes == 1, "nothing new"
    memory.learn(ticket, 0.5, (10, 3))
    memory.close()
    assert (store.writes, clock.armed) == (2, [])
    mesh = Mesh(WARM)
    mesh.memory = RouteMemory(mesh.traffic, mesh.clock, Store(store.data))
    assert mesh.score("a").facts.work_s == 0.5


@pytest.mark.parametrize(
    "data",
    [b"{", b"[1]", b'[["a","","m",{"first_s":-1}]]', b'[["a","","m",{"write_s":1e300}]]', b"[" * 5_000],
)
def test_a_file_that_somebody_wrote_is_not_believed(data: bytes) -> None:
    mesh = Mesh(WARM)
    mesh.memory = RouteMemory(mesh.traffic, mesh.clock, Store(data))
    assert mesh.score("a").facts.work_s is None


def test_only_so_many_routes_are_remembered_and_none_of_a_removed_backend() -> None:
    mesh = Mesh(WARM)
    for number in range(ROUTES_MAX + 1):
        ticket = mesh.traffic.reserve("a" if number else "b", f"m{number}")
        mesh.memory.learn(ticket, 0.5, None)
    assert len(mesh.memory) == ROUTES_MAX
    mesh.memory.forget("a")
    assert len(mesh.memory) == 0
