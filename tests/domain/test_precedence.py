"""Prompts stay with what the user has added: nobody takes a model over by listing it."""

import pytest
from msgspec.structs import replace

from meshlight.domain.backend import OK, Backend, Kind, Reason, Ring, Source
from meshlight.domain.health import Health, State
from meshlight.domain.local_models import LOCAL_ID
from meshlight.domain.precedence import offered
from meshlight.domain.routing import listed, rank
from meshlight.domain.rules import Policy, Routing, Rule
from meshlight.domain.snapshot import Node, Snapshot, index

DOWN = Reason("refused", "Down.")


def node(
    name: str,
    *models: str,
    kind: Kind = "ollama",
    ring: Ring = "machine",
    source: Source = "config",
    state: State = "healthy",
    enabled: bool = True,
) -> Node:
    return Node(
        backend=Backend(
            id=name,
            name=name.upper(),
            kind=kind,
            ring=ring,
            url=f"http://{name}",
            source=source,
            enabled=enabled,
            node_id=f"id-of-{name}" if kind == "peer" else "",
        ),
        health=Health(state=state, reason=OK if state == "healthy" else DOWN),
        models=models,
    )


def mesh(*nodes: Node, uses: dict[str, tuple[str, ...]] | None = None, **wishes: object) -> Snapshot:
    by_id = {n.backend.id: n for n in nodes}
    routing = Routing(**wishes)  # type: ignore[arg-type]
    return Snapshot(nodes=by_id, routes=index(by_id), routing=routing, uses=uses or {})


def used(snapshot: Snapshot, model: str = "m") -> list[str]:
    return [score.backend for score in rank(snapshot, model, {}, 0.0).candidates]


FOUND = node("found", "m", source="found")
PEER = node("bo", "m", kind="peer", ring="lan")
OPENAI = node("openai", "m", kind="openai", ring="cloud")
CLUSTER = node("cluster", "m", kind="cluster", ring="company")
STUDIO = node("studio", "m", ring="lan")
HERE = node("here", "m", kind="llamacpp")


@pytest.mark.parametrize("policy", ["local-first", "priority", "round-robin", "least-busy", "fastest"])
@pytest.mark.parametrize("offer", [FOUND, PEER], ids=lambda n: n.backend.id)
@pytest.mark.parametrize("own", [OPENAI, CLUSTER, STUDIO], ids=lambda n: n.backend.id)
@pytest.mark.parametrize("state", ["healthy", "unhealthy", "unknown", "warming"])
def test_prompts_do_not_go_to_whoever_says_nearer(
    own: Node, offer: Node, policy: Policy, state: State
) -> None:
    own = replace(own, health=Health(state=state, reason=OK if state == "healthy" else DOWN))
    snapshot = mesh(offer, own, policy=policy)
    assert used(snapshot) == [own.backend.id]
    assert listed(snapshot)["m"] == ("m", (own.backend.id,))
    assert offered(snapshot) == {"m": (offer.backend.id,)}
    [why] = [v.why for v in rank(snapshot, "m", {}, 0.0).scores if v.backend == offer.backend.id]
    assert f"{own.backend.name}, which you have added, has it" in why
    assert f'`also = ["{offer.backend.id}"]`' in why


def test_of_two_engines_of_this_machine_the_one_that_was_added_is_used() -> None:
    assert used(mesh(FOUND, HERE)) == ["here"]


def test_models_that_lie_on_this_machines_disk_push_no_running_engine_aside() -> None:
    snapshot = mesh(node("disk", "m", kind="local", source="own"), node("found", "m", source="found"))
    assert {score.tier for score in rank(snapshot, "m", {}, 0.0).scores} == {"ready"}
    assert not offered(snapshot)


def test_a_peer_still_steps_in_for_an_engine_of_this_machine_that_is_down() -> None:
    assert used(mesh(HERE, PEER)) == ["here", "bo"]
    down = replace(HERE, health=Health(state="unhealthy", reason=DOWN))
    assert used(mesh(down, PEER)) == ["bo"]


def test_what_nobody_else_has_is_used_from_whoever_offers_it() -> None:
    assert used(mesh(FOUND, PEER, node("openai", "other", kind="openai", ring="cloud"))) == ["found", "bo"]
    assert used(mesh(FOUND, replace(OPENAI, backend=replace(OPENAI.backend, enabled=False)))) == ["found"]


@pytest.mark.parametrize(
    "rule",
    [
        Rule(model="m", also=("bo",)),
        Rule(model="*", also=("BO",)),
        Rule(model="m", also=("*",)),
        Rule(model="m", pin=("bo",)),
        Rule(model="m", pin=("BO",)),
        Rule(model="m", prefer=("bo",), spill="cloud"),
        Rule(model="m", bound="lan"),
    ],
    ids=str,
)
def test_a_rule_that_says_so_lets_an_offer_be_used(rule: Rule) -> None:
    assert used(mesh(PEER, OPENAI, rules=(rule,)))[0] == "bo"
    assert offered(mesh(PEER, OPENAI, rules=(rule,))) == {}


def test_a_peer_that_calls_itself_as_the_account_in_a_rule_gains_nothing() -> None:
    duplicate = replace(PEER, backend=replace(PEER.backend, name="OPENAI"))
    for rule in (Rule(model="m", pin=("OPENAI",)), Rule(model="m", prefer=("OPENAI",))):
        assert used(mesh(duplicate, OPENAI, rules=(rule,))) == ["openai"]


@pytest.mark.parametrize("asked", ["bo/m", "BO/m", "theirs"])
def test_one_that_is_addressed_by_its_name_is_used(asked: str) -> None:
    snapshot = mesh(PEER, OPENAI, aliases={"theirs": "bo/m"}, uses={"id-of-bo": ("other",)})
    assert used(snapshot, asked) == ["bo"]
    assert "theirs" in listed(snapshot)


def test_from_a_peer_only_what_was_chosen_is_used() -> None:
    peer = node("bo", "qwen3:4b", "qwen3:8b", "gemma", "gpt-5-mini", kind="peer", ring="lan")
    openai = node("openai", "gpt-5-mini", "qwen3:8b", kind="openai", ring="cloud")
    snapshot = mesh(peer, openai, uses={"id-of-bo": ("qwen3*",)})
    assert used(snapshot, "qwen3:4b") == ["bo"]
    assert used(snapshot, "qwen3:8b")[0] == "bo", "it was chosen by name"
    assert used(snapshot, "gpt-5-mini") == ["openai"]
    assert used(snapshot, "gemma") == []
    assert "gemma" not in listed(snapshot)
    [score] = rank(snapshot, "gemma", {}, 0.0).scores
    assert "not among the models that are used from BO" in score.why
    assert used(mesh(peer, uses={"id-of-bo": ()}), "gemma") == []
    assert used(mesh(peer, uses={"id-of-eva": ()}), "gemma") == ["bo"]


def test_an_offer_that_is_not_used_is_no_nearer_ring_to_stay_in() -> None:
    assert used(mesh(FOUND, CLUSTER, OPENAI)) == ["cluster"]
    assert used(mesh(FOUND, OPENAI)) == ["openai"]


def test_a_further_name_is_listed_unless_it_is_that_of_a_model_of_this_machine() -> None:
    cluster = replace(CLUSTER, names={"service": "m"})
    own = replace(node(LOCAL_ID, "m:Q4", kind="local"), names={"m": "m:Q4"})
    snapshot = mesh(cluster, own)
    assert set(listed(snapshot)) == {"m", "m:Q4", "CLUSTER/service"}
    assert used(snapshot, f"{LOCAL_ID.upper()}/m") == [LOCAL_ID], "it can be asked for"
