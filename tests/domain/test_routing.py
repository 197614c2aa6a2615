"""Routing is pure and explained: which route, in which order, and why not the others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from meshlight.domain.backend import OK, RING_ORDER, RINGS, Backend, ModelDetail, Reason, Ring
from meshlight.domain.choice import Prompt, fits
from meshlight.domain.health import Health, State
from meshlight.domain.routing import NAME_MAX, Ranking, beyond_bound, rank, resolve
from meshlight.domain.rules import Policy, Routing, Rule
from meshlight.domain.snapshot import Node, Snapshot, index


def node(
    name: str,
    *models: str,
    ring: Ring = "machine",
    state: State = "healthy",
    latency_s: float = 0.01,
    enabled: bool = True,
    priority: int = 0,
) -> Node:
    reason = OK if state == "healthy" else Reason("refused", f"{name} is down.")
    return Node(
        backend=Backend(
            id=name,
            name=name.upper(),
            kind="llamacpp",
            ring=ring,
            url=f"http://{name}",
            enabled=enabled,
            priority=priority,
        ),
        health=Health(state=state, reason=reason, latencies=(latency_s,)),
        models=models,
    )


def mesh(*nodes: Node, routing: Routing | None = None) -> Snapshot:
    by_id = {n.backend.id: n for n in nodes}
    return Snapshot(nodes=by_id, routes=index(by_id), routing=routing or Routing())


def order(ranking: Ranking) -> list[str]:
    return [score.backend for score in ranking.candidates]


def test_the_nearest_ring_goes_first_then_the_least_busy_then_the_fastest() -> None:
    snapshot = mesh(
        node("far", "m", ring="lan", latency_s=0.001),
        node("slow", "m", latency_s=0.5),
        node("fast", "m", latency_s=0.1),
        node("busy", "m", latency_s=0.001),
    )
    assert order(rank(snapshot, "m", {"busy": 1}, 0.0)) == ["fast", "slow", "busy", "far"]


@pytest.mark.parametrize(
    ("policy", "first"),
    [("priority", "c"), ("least-busy", "b"), ("fastest", "a"), ("local-first", "b")],
)
def test_each_policy_has_its_own_first_choice(policy: Policy, first: str) -> None:
    snapshot = mesh(
        node("a", "m", ring="lan", latency_s=0.001, priority=2),
        node("b", "m", latency_s=0.2, priority=1),
        node("c", "m", ring="company", latency_s=0.1, priority=0),
        routing=Routing(policy=policy),
    )
    assert order(rank(snapshot, "m", {"a": 1, "c": 1}, 0.0))[0] == first


def test_round_robin_moves_on_with_each_request() -> None:
    snapshot = mesh(node("a", "m"), node("b", "m"), node("c", "m"), routing=Routing(policy="round-robin"))
    assert [order(rank(snapshot, "m", {}, 0.0, turn))[0] for turn in range(4)] == ["a", "b", "c", "a"]


def test_a_backend_that_is_down_is_not_tried_while_another_is_up() -> None:
    snapshot = mesh(node("down", "m", state="unhealthy"), node("up", "m", ring="lan"))
    assert order(rank(snapshot, "m", {}, 0.0)) == ["up"]


def test_the_last_route_is_never_blacked_out() -> None:
    snapshot = mesh(node("a", "m", state="unhealthy"), node("b", "m", state="warming", latency_s=1.0))
    assert len(order(rank(snapshot, "m", {}, 0.0))) == 1


def test_a_switched_off_backend_serves_nothing() -> None:
    assert rank(mesh(node("a", "m", enabled=False)), "m", {}, 0.0).scores == ()


def test_a_cloud_is_not_used_in_place_of_a_nearer_route_unless_a_rule_says_so() -> None:
    nodes = (node("here", "m", state="unhealthy"), node("cloud", "m", ring="cloud"))
    ranking = rank(mesh(*nodes), "m", {}, 0.0)
    assert order(ranking) == ["here"]
    assert "spill over to the cloud" in next(v.why for v in ranking.scores if v.backend == "cloud")
    allowed = Routing(rules=(Rule(model="m", spill="cloud"),))
    assert order(rank(mesh(*nodes, routing=allowed), "m", {}, 0.0)) == ["cloud"]


def test_a_model_that_only_a_cloud_serves_goes_there() -> None:
    assert order(rank(mesh(node("cloud", "m", ring="cloud")), "m", {}, 0.0)) == ["cloud"]


def test_a_bound_is_never_crossed() -> None:
    routing = Routing(rules=(Rule(model="m*", bound="lan", spill="cloud"),))
    snapshot = mesh(
        node("cloud", "m", ring="cloud"), node("lan", "m", ring="lan", state="unhealthy"), routing=routing
    )
    ranking = rank(snapshot, "m", {}, 0.0)
    assert order(ranking) == ["lan"]
    assert "never goes beyond lan" in ranking.scores[-1].why


def test_a_pin_keeps_to_its_backends_by_id_or_name() -> None:
    routing = Routing(rules=(Rule(model="m", pin=("B",)),))
    assert order(rank(mesh(node("a", "m"), node("b", "m"), routing=routing), "m", {}, 0.0)) == ["b"]


def test_a_preference_goes_before_the_policy() -> None:
    routing = Routing(rules=(Rule(model="m", prefer=("far",)),))
    snapshot = mesh(node("near", "m"), node("far", "m", ring="lan"), routing=routing)
    assert order(rank(snapshot, "m", {}, 0.0)) == ["far", "near"]


@pytest.mark.parametrize(
    ("name", "model", "backends"),
    [
        ("org/model:7b@q4", "org/model:7b@q4", ("a",)),
        ("b/plain", "plain", ("b",)),
        ("B/plain", "plain", ("b",)),
        ("a/org/model:7b@q4", "org/model:7b@q4", ("a",)),
        ("short", "plain", ("b",)),
        ("direct", "direct", ()),
        ("100%", "100%", ("b",)),
        ("nobody/plain", "nobody/plain", ()),
    ],
)
def test_a_name_is_an_alias_a_model_or_a_backends_model(
    name: str, model: str, backends: tuple[str, ...]
) -> None:
    routing = Routing(aliases={"short": "plain", "direct": "direct"})
    snapshot = mesh(node("a", "org/model:7b@q4"), node("b", "plain", "100%"), routing=routing)
    assert resolve(snapshot, name) == (model, backends)


def test_an_ejected_backend_is_tried_again_when_its_pause_is_over() -> None:
    ejected = node("a", "m", state="unhealthy")
    health = replace(ejected.health, reason=Reason("failing-requests", "3 failed."), held_until=30.0)
    snapshot = mesh(replace(ejected, health=health), node("b", "m", ring="lan"))
    assert order(rank(snapshot, "m", {}, 29.0)) == ["b"]
    assert order(rank(snapshot, "m", {}, 31.0)) == ["b", "a"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(RINGS),
            st.sampled_from(["healthy", "warming", "unhealthy", "unknown"]),
            st.booleans(),
        ),
        max_size=8,
    ),
    st.sampled_from(["local-first", "priority", "round-robin", "least-busy", "fastest"]),
    st.one_of(st.none(), st.sampled_from(RINGS)),
)
def test_whatever_the_mesh_the_order_is_total_and_the_bound_holds(
    parts: list[tuple[Ring, State, bool]], policy: Policy, bound: Ring | None
) -> None:
    nodes = [node(f"b{i}", "m", ring=r, state=s, enabled=e) for i, (r, s, e) in enumerate(parts)]
    snapshot = mesh(*nodes, routing=Routing(policy=policy, rules=(Rule(model="m", bound=bound),)))
    ranking = rank(snapshot, "m", {}, 0.0)
    serving = [n for n in nodes if n.backend.enabled]
    assert sorted(v.backend for v in ranking.scores) == sorted(n.backend.id for n in serving)
    assert all(v.why for v in ranking.scores)
    for backend_id in order(ranking):
        ring = snapshot.nodes[backend_id].backend.ring
        assert bound is None or RING_ORDER[ring] <= RING_ORDER[bound]
    within = [n for n in serving if bound is None or RING_ORDER[n.backend.ring] <= RING_ORDER[bound]]
    assert bool(order(ranking)) == bool(within)


DETAILS = st.builds(
    ModelDetail,
    loaded=st.sampled_from([None, True, False]),
    slots=st.none() | st.integers(1, 3),
    context=st.sampled_from([None, 2_048, 8_192]),
)


@given(
    st.lists(st.tuples(st.sampled_from(RINGS), DETAILS, st.integers(0, 4)), min_size=1, max_size=6),
    st.sampled_from(["local-first", "priority", "least-busy", "fastest"]),
    st.integers(0, 10_000),
)
def test_whatever_is_known_the_first_is_no_worse_than_the_others_and_says_why(
    parts: list[tuple[Ring, ModelDetail, int]], policy: Policy, tokens: int
) -> None:
    nodes = [
        replace(node(f"b{i}", "m", ring=ring), details={"m": detail})
        for i, (ring, detail, _) in enumerate(parts)
    ]
    load = {f"b{i}": busy for i, (_, _, busy) in enumerate(parts)}
    snapshot = mesh(*nodes, routing=Routing(policy=policy, rules=(Rule(model="m", spill="cloud"),)))
    prompt = Prompt(tokens=tokens)
    ranking = rank(snapshot, "m", load, 0.0, prompt=prompt)
    first, *others = ranking.candidates
    assert [score.backend for score in rank(snapshot, "m", load, 0.0, prompt=prompt).candidates] == [
        score.backend for score in ranking.candidates
    ]
    assert len({score.why for score in ranking.candidates}) >= min(len(parts), 2)
    for other in others:
        assert other.why.startswith("After ")
        assert fits(first.facts, prompt) or not fits(other.facts, prompt)
        if fits(first.facts, prompt) == fits(other.facts, prompt):
            assert not first.facts.is_full or other.facts.is_full
            if policy == "local-first" and first.facts.is_full == other.facts.is_full:
                assert first.facts.ring <= other.facts.ring


@pytest.mark.parametrize("name", ["/" * 100_000, "a/" * 50_000, "one/" * 25_000, "one/" + "m" * NAME_MAX])
def test_a_name_without_end_leads_nowhere(name: str) -> None:
    assert resolve(mesh(node("one", "m", "m" * NAME_MAX)), name) == (name, ())


def test_of_backends_whose_names_begin_alike_the_shorter_one_is_meant() -> None:
    nodes = mesh(node("one/two", "m"), node("one", "two/m", "m"))
    assert resolve(nodes, "one/two/m") == ("two/m", ("one",))
    assert resolve(nodes, "ONE/m") == ("m", ("one",))
    assert resolve(mesh(node("one/two", "m"), node("one", "m")), "one/two/m") == ("m", ("one/two",))
    assert resolve(nodes, "one/") == ("one/", ())


@pytest.mark.parametrize(
    ("bound", "usable"),
    [
        (None, ["a", "b", "c"]),
        ("company", ["a", "b", "c"]),
        ("lan", ["a", "b"]),
        ("machine", ["a"]),
    ],
)
def test_no_prompt_goes_beyond_the_bound_whatever_the_rules_say(
    bound: Ring | None, usable: list[str]
) -> None:
    generous = Rule(model="*", spill="cloud", bound="cloud", prefer=("c",))
    snapshot = mesh(
        node("a", "m"),
        node("b", "m", ring="lan"),
        node("c", "m", ring="company"),
        routing=Routing(bound=bound, rules=(generous,)),
    )
    ranking = rank(snapshot, "m", {}, 0.0)
    assert sorted(order(ranking)) == usable
    why = beyond_bound(bound)
    assert {s.backend for s in ranking.scores if s.why == why} == {"a", "b", "c"} - set(usable)


def test_a_stricter_rule_stays_as_it_is() -> None:
    routing = Routing(bound="lan", rules=(Rule(model="m", bound="machine"), Rule(model="*", bound="cloud")))
    assert (routing.rule("m").bound, routing.rule("other").bound) == ("machine", "lan")
    assert Routing(bound="lan").rule("x").bound == "lan"


def test_an_account_and_what_lies_behind_a_peer_count_by_how_far_the_prompt_really_goes() -> None:
    cloud = node("cloud", "m", ring="machine")
    cloud = replace(cloud, backend=replace(cloud.backend, kind="openai"))
    peer = replace(node("peer", "m", "n", ring="lan"), details={"m": ModelDetail(ring="cloud")})
    snapshot = mesh(cloud, peer, routing=Routing(bound="lan"))
    assert order(rank(snapshot, "m", {}, 0.0)) == []
    assert order(rank(snapshot, "n", {}, 0.0)) == ["peer"]
