"""What a peer may use: by ring, by model, never what is itself a peer's, and never an address or a key."""

import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.backend import Backend, ModelDetail, Reason, Ring
from meshlight.domain.health import Health
from meshlight.domain.peers import Peer, SharedCatalog, may_use, own_id, shared
from meshlight.domain.routing import rank
from meshlight.domain.snapshot import Node, Snapshot, index

CANARY = "canary-77e1"


def peer(**fields: Any) -> Peer:
    return Peer(**({"id": "a" * 64, "name": "Anna", "url": "https://10.0.0.2:6375"} | fields))


def node(name: str, ring: Ring = "machine", *models: str, kind: str = "ollama", **fields: Any) -> Node:
    backend = Backend(id=name, name=name, kind=kind, ring=ring, url=f"http://{CANARY}:1/", **fields)  # type: ignore[arg-type]
    said = Reason("refused", f"Connection refused at {CANARY}:1", CANARY)
    health = Health(state="healthy", reason=said)
    return Node(
        backend=backend, health=health, models=models or ("m",), about={"Key": CANARY}, warnings=(CANARY,)
    )


def snapshot(*nodes: Node) -> Snapshot:
    by_id = {found.backend.id: found for found in nodes}
    return Snapshot(nodes=by_id, routes=index(by_id))


def offer(terms: Peer, *nodes: Node, sees_you: bool | None = None, paused: bool = False) -> SharedCatalog:
    return shared(snapshot(*nodes), terms, "b" * 64, "Ben", sees_you=sees_you, paused=paused)


def names(catalog: SharedCatalog) -> dict[str, tuple[str, ...]]:
    return {backend.name: backend.models for backend in catalog.backends}


def test_a_new_peer_gets_what_is_on_this_machine_and_nothing_beyond() -> None:
    assert names(offer(peer(), node("here"), node("next", "lan"), node("far", "cloud"))) == {"ollama": ("m",)}


def test_the_rings_and_models_of_the_terms_are_the_only_ones() -> None:
    nodes = node("here", "machine", "m", "secret"), node("next", "lan", "m", "n")

    assert names(offer(peer(share_rings=("machine", "lan"), share_models=("m",)), *nodes)) == {
        "ollama": ("m",),
        "ollama 2": ("m",),
    }
    assert names(offer(peer(share_rings=()), *nodes)) == {}
    assert names(offer(peer(share_models=()), *nodes)) == {}


@pytest.mark.parametrize(
    ("kind", "ring"),
    [("openai", "cloud"), ("anthropic", "cloud"), ("gemini", "cloud"), ("cluster", "company")],
)
def test_an_account_elsewhere_is_lent_only_where_that_is_ticked_whatever_ring_it_was_put_into(
    kind: str, ring: Ring
) -> None:
    account = node("mine", "machine", kind=kind)

    assert names(offer(peer(), account)) == {}
    assert not may_use(peer(), account.backend, "m")
    assert names(offer(peer(share_rings=("machine", "lan")), account)) == {}
    assert names(offer(peer(share_rings=(ring,)), account)) == {kind: ("m",)}


def test_a_cluster_that_was_put_into_the_cloud_is_lent_only_with_the_clouds() -> None:
    far = node("far", "cloud", kind="cluster")

    assert names(offer(peer(share_rings=("company",)), far)) == {}
    assert names(offer(peer(share_rings=("cloud",)), far)) == {"cluster": ("m",)}


def test_what_is_another_peers_is_never_passed_on() -> None:
    far = node("carl", "lan", kind="peer")

    assert names(offer(peer(share_rings=("machine", "lan", "company", "cloud")), far)) == {}
    assert not may_use(peer(share_rings=("lan",)), far.backend, "m")


def test_what_is_switched_off_is_not_offered() -> None:
    assert names(offer(peer(), node("here", enabled=False))) == {}


def test_details_are_those_of_the_shared_models_only() -> None:
    details = {"m": ModelDetail(context=4096), "secret": ModelDetail(context=1)}
    found = msgspec.structs.replace(node("here", "machine", "m", "secret"), details=details)

    [backend] = offer(peer(share_models=("m",)), found).backends
    assert backend.details == {"m": ModelDetail(context=4096)}


def test_no_address_no_key_and_no_reason_is_in_a_catalog() -> None:
    catalog = offer(peer(), node("here", has_secret=True, access_key=CANARY, ca_file=f"/{CANARY}"))

    assert CANARY.encode() not in msgspec.json.encode(catalog)


def test_the_hash_changes_with_whatever_a_peer_gets_to_see_and_with_nothing_else() -> None:
    here, unseen = node("here"), node("far", "cloud")
    ill = msgspec.structs.replace(here, health=Health(state="unhealthy"))
    slower = msgspec.structs.replace(
        here, about={"Version": "2"}, health=Health(state="healthy", latencies=(9.0,))
    )
    base = offer(peer(), here).hash

    assert len(base) == 8
    assert base == offer(peer(), here, unseen).hash == offer(peer(), slower).hash
    others = {
        offer(peer(), ill).hash,
        offer(peer(), node("here", "machine", "n")).hash,
        offer(peer(), here, sees_you=False).hash,
        offer(peer(), here, paused=True).hash,
    }
    assert len(others) == 4
    assert base not in others


def test_ten_thousand_models_cost_no_more_than_a_moment() -> None:
    models = tuple(f"vendor/model-{number}" for number in range(10_000))
    details = {model: ModelDetail(context=4096, quantization="Q4") for model in models}
    large = msgspec.structs.replace(node("here", "machine", *models), details=details)

    started = time.process_time()
    catalog = offer(peer(share_models=models), large)
    assert len(catalog.backends[0].models) == 10_000
    assert time.process_time() - started < 0.25


def test_a_route_that_is_shared_is_not_held_back_by_a_nearer_one_that_is_not() -> None:
    mesh = snapshot(node("here"), node("far", "cloud"))
    terms = peer(share_rings=("cloud",))

    ranking = rank(mesh, "m", {}, 0.0, may_use=lambda backend, model: may_use(terms, backend, model))

    assert [(score.backend, score.tier) for score in ranking.scores] == [("far", "ready")]


RINGS: list[Ring] = ["machine", "lan", "company", "cloud"]


@given(
    rings=st.lists(st.sampled_from(RINGS), unique=True),
    allowed=st.none() | st.lists(st.sampled_from("mnop"), unique=True),
    places=st.lists(
        st.tuples(st.sampled_from(RINGS), st.lists(st.sampled_from("mnop"), unique=True), st.booleans()),
        max_size=4,
    ),
)
def test_what_is_listed_is_what_may_be_used_and_the_other_way_round(
    rings: list[Ring], allowed: list[str] | None, places: list[tuple[Ring, list[str], bool]]
) -> None:
    terms = peer(share_rings=tuple(rings), share_models=None if allowed is None else tuple(allowed))
    nodes = [
        node(f"n{place}", ring, *(models or ["m"]), enabled=enabled)
        for place, (ring, models, enabled) in enumerate(places)
    ]
    listed = sorted((shown.ring, model) for shown in offer(terms, *nodes).backends for model in shown.models)
    usable = sorted(
        (found.backend.ring, model)
        for found in nodes
        for model in found.models
        if may_use(terms, found.backend, model)
    )
    assert listed == usable


PATHS = [
    (f"/home/{CANARY}/models/small.gguf", "small.gguf"),
    (f"/srv/{CANARY}/small/", "small"),
    (f"C:\\Users\\{CANARY}\\small.gguf", "small.gguf"),
    (f"~/{CANARY}/small", "small"),
    (f"./{CANARY}/small", "small"),
    (f"..\\{CANARY}\\small", "small"),
    (f"\\\\{CANARY}\\share\\small", "small"),
    (f"file:///{CANARY}/small", "small"),
]


@pytest.mark.parametrize(("model", "told"), PATHS)
def test_a_model_that_is_called_by_its_files_path_is_told_by_its_last_part_and_found_by_it(
    model: str, told: str
) -> None:
    here = msgspec.structs.replace(node("here", "machine", model), details={model: ModelDetail(context=9)})
    [backend] = offer(peer(), here).backends

    assert (backend.models, list(backend.details)) == ((told,), [told])
    assert CANARY not in msgspec.json.encode(offer(peer(), here)).decode()
    assert own_id(snapshot(here), peer(), told) == model
    assert own_id(snapshot(here), peer(share_models=("other",)), told) == told


def test_an_id_with_slashes_is_no_path_and_stays_as_it_is() -> None:
    for model in ("org/small", "hf.co/org/small:Q4", "models/small", "small"):
        [backend] = offer(peer(), node("here", "machine", model)).backends
        assert backend.models == (model,)


def test_what_a_backend_is_called_here_is_not_told_but_what_it_is() -> None:
    nodes = [node(f"{CANARY} at attic.example:{port}") for port in (1, 2)]
    catalog = shared(
        snapshot(*nodes), peer(), "b" * 64, "Ben", sees_you=None, paused=False, labels={"ollama": "Ollama"}
    )
    assert [backend.name for backend in catalog.backends] == ["Ollama", "Ollama 2"]
    assert CANARY not in msgspec.json.encode(catalog).decode()


def test_the_demo_is_shared_with_nobody() -> None:
    demo, real = node("demo", source="demo"), node("real")
    assert not may_use(peer(), demo.backend, "m")
    assert may_use(peer(), real.backend, "m")
    assert len(offer(peer(), demo, real).backends) == 1
