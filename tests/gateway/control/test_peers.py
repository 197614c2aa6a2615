"""Peers in the API: two whole nodes pair, share, change terms and part."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.bad_requests import error_of
from meshlight.gateway.server.listener import bind
from meshlight.simulator.engine import SimulatedEngine
from node import Node
from paired_nodes import lan, pair, peers, sees, until
from security.paired_node import settled


@asynccontextmanager
async def couple(home: Path, *engines: SimulatedEngine) -> AsyncIterator[tuple[Node, Node]]:
    """Anna without engines, and Ben with them, who lets himself be seen."""
    async with Node(home / "a", [], lan("Anna")) as anna, Node(home / "b", engines, lan("Ben")) as ben:
        view = (await ben.http.patch("/mesh/peers", json={"visible": True})).json()
        assert view["door"]
        yield anna, ben


async def without_backends(node: Node) -> None:
    """Wait until the snapshot has no backends: a peer's backend goes right after the peer."""
    async with asyncio.timeout(15), node.http.stream("GET", "/mesh/events", timeout=15) as events:
        async for _ in events.aiter_lines():
            if not (await node.http.get("/mesh/snapshot")).json()["backends"]:
                return


async def test_a_paired_peers_model_answers_here_and_terms_change_what_it_may_use(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "study", models=("alpha", "beta")) as engine,
        couple(tmp_path, engine) as (anna, ben),
    ):
        await pair(anna, ben)
        await sees(anna, "beta")
        assert (await anna.chat("beta")).status_code == 200
        there = (await peers(ben))["peers"][0]
        assert there["sees_models"] == ["alpha", "beta"]

        changed = await ben.http.patch(f"/mesh/peers/{there['id']}", json={"share_models": ["alpha"]})
        assert changed.json()["peers"][0]["sees_models"] == ["alpha"]
        await sees(anna, "beta", is_there=False)
        refusal = await anna.chat("beta")
        assert refusal.status_code == 404
        assert "does not share beta with you any more" in refusal.text

        await ben.http.patch(f"/mesh/peers/{there['id']}", json={"share_models": None, "paused": True})
        await sees(anna, "alpha", is_there=False)
        view = await peers(ben)
        assert (view["peers"][0]["paused"], view["peers"][0]["share_models"]) == (True, None)


async def test_a_peer_takes_over_no_model_of_a_backend_that_was_added_until_it_is_chosen(
    tmp_path: Path,
) -> None:
    async with (
        SimulatedEngine("llamacpp", "bens", models=("shared", "alpha", "beta")) as bens,
        SimulatedEngine("vllm", "own", models=("shared",)) as own,
        couple(tmp_path, bens) as (anna, ben),
    ):
        added = {"kind": "vllm", "url": own.url, "name": "own", "ring": "company"}
        assert (await anna.http.post("/mesh/backends", json=added)).status_code == 201
        other = await pair(anna, ben)
        await sees(anna, "beta")
        backend = f"peer-{other[:8]}"

        async def answers(model: str) -> str:
            return (await anna.chat(model)).headers["x-meshlight-backend"]

        assert await answers("shared") == "own"
        assert await answers("alpha") == backend
        assert await answers(f"{backend}/shared") == backend
        assert (await anna.http.get("/mesh/snapshot")).json()["offered"] == {"shared": [backend]}
        route = (await anna.http.get("/mesh/route", params={"model": "shared"})).json()
        assert route["answers"] == "own"
        [aside] = [one for one in route["routes"] if one["backend"] == backend]
        assert aside["tier"] == "excluded"
        assert f'`also = ["{backend}"]`' in aside["why"]
        cards = (await anna.http.get("/v1/models")).json()["data"]
        [card] = [one for one in cards if one["id"] == "shared"]
        assert card["meshlight"]["backends"] == ["own"]

        view = await anna.http.patch(f"/mesh/peers/{other}", json={"use": ["shared", "alp*"]})
        assert view.json()["peers"][0]["use"] == ["shared", "alp*"]
        assert await answers("shared") == backend
        assert await answers("alpha") == backend
        assert (await anna.chat("beta")).status_code == 503
        assert (await anna.http.get("/mesh/snapshot")).json()["offered"] == {"beta": [backend]}
        await sees(anna, "beta", is_there=False)

        await anna.http.patch(f"/mesh/peers/{other}", json={"use": None})
        assert await answers("shared") == "own"


async def test_a_peers_models_are_loaded_from_here_once_its_owner_allows_it(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("ollama", "study", models=("alpha", "beta")) as engine,
        couple(tmp_path, engine) as (anna, ben),
    ):
        backend = f"peer-{(await pair(anna, ben))[:8]}"
        await sees(anna, "beta")
        load, unload = (f"/mesh/backends/{backend}/models/{verb}" for verb in ("load", "unload"))
        error = await error_of(anna, "POST", load, 409, json={"model": "beta"})
        assert "may_manage" in error["hint"]

        there = (await peers(ben))["peers"][0]
        await ben.http.patch(f"/mesh/peers/{there['id']}", json={"may_manage": True})
        await anna.until_so(backend, lambda found: bool(found["can_load"]))
        assert (await anna.http.post(load, json={"model": "beta"})).status_code == 200
        assert engine.facts.loaded == {"alpha", "beta"}
        await ben.refresh()
        await anna.until_so(backend, lambda found: bool(found["details"]["beta"].get("loaded")))
        assert (await anna.http.post(unload, json={"model": "beta"})).status_code == 200
        assert engine.facts.loaded == {"alpha"}

        await ben.http.patch(f"/mesh/peers/{there['id']}", json={"may_manage": False})
        await anna.until_so(backend, lambda found: not found["can_load"])


async def test_what_is_warm_at_a_peer_and_its_slots_count_in_the_choice_here(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("ollama", "study", models=("alpha",)) as bens,
        SimulatedEngine("ollama", "own", models=("alpha",)) as own,
        couple(tmp_path, bens) as (anna, ben),
    ):
        own.facts.loaded.clear()
        added = {"kind": "ollama", "url": own.url, "name": "own", "ring": "lan"}
        assert (await anna.http.post("/mesh/backends", json=added)).status_code == 201
        assert (await ben.http.patch("/mesh/backends/study", json={"slots": 3})).is_success
        other = await pair(anna, ben)
        await anna.http.patch(f"/mesh/peers/{other}", json={"use": ["alpha"]})
        backend = f"peer-{other[:8]}"
        await anna.until_so(backend, lambda found: found["details"].get("alpha", {}).get("slots") == 3)
        answer = await anna.chat("alpha")
        assert (answer.headers["x-meshlight-backend"], answer.headers["x-meshlight-why"]) == (
            backend,
            "warm here",
        )
        routes = (await anna.http.get("/mesh/route?model=alpha")).json()["routes"]
        assert [(r["backend"], r["loaded"], r["slots"]) for r in routes] == [
            (backend, True, 3),
            ("own", False, None),
        ]
        assert not own.calls()


async def test_unpairing_ends_it_on_both_sides_and_closes_the_listener(tmp_path: Path) -> None:
    async with couple(tmp_path) as (anna, ben):
        other = await pair(anna, ben)
        assert (await peers(anna))["port"]
        gone = await anna.http.delete(f"/mesh/peers/{other}")
        assert gone.json()["peers"] == []
        assert (await until(ben, lambda view: not view["peers"]))["port"] == 0
        assert (await settled(anna))["port"] == 0
        await without_backends(ben)
        await error_of(anna, "DELETE", f"/mesh/peers/{other}", 404)


async def test_both_may_unpair_at_once_and_pair_again(tmp_path: Path) -> None:
    async with couple(tmp_path) as (anna, ben):
        other = await pair(anna, ben)
        mine = (await peers(ben))["peers"][0]["id"]
        answers = await asyncio.gather(
            anna.http.delete(f"/mesh/peers/{other}"),
            anna.http.delete(f"/mesh/peers/{other}"),
            ben.http.delete(f"/mesh/peers/{mine}"),
        )
        assert {answer.status_code for answer in answers} <= {200, 404}
        await until(anna, lambda view: not view["peers"])
        await until(ben, lambda view: not view["peers"])
        assert await pair(anna, ben) == other


async def test_a_no_is_told_on_the_other_side(tmp_path: Path) -> None:
    async with couple(tmp_path) as (anna, ben):
        door = (await peers(ben))["door"]
        await anna.http.post("/mesh/peers/pairing", json={"host": "127.0.0.1", "port": door})
        await until(ben, lambda view: view["pairing"])
        await ben.http.post("/mesh/peers/pairing/refuse")
        view = await until(anna, lambda view: view["pairing"]["state"] == "over")
        assert "refused on Ben" in view["pairing"]["why"]


async def test_a_taken_port_is_told_with_its_fix_and_everything_else_goes_on(tmp_path: Path) -> None:
    with bind("0.0.0.0", 0) as other:
        taken = other.getsockname()[1]
        async with (
            SimulatedEngine("llamacpp", "study") as engine,
            Node(tmp_path, [engine], lan("Anna", door=taken)) as node,
        ):
            error = await error_of(node, "PATCH", "/mesh/peers", 409, json={"visible": True})
            assert f"Port {taken}" in error["message"]
            assert "[lan]" in error["message"]
            view = await peers(node)
            assert (view["door"], view["visible"]) == (0, True)
            assert f"Port {taken}" in view["problem"]
            snapshot = (await node.http.get("/mesh/snapshot")).json()
            assert any(f"Port {taken}" in notice for notice in snapshot["notices"])
            assert (await node.chat()).status_code == 200

            other.close()
            view = (await node.http.patch("/mesh/peers", json={"visible": True})).json()
            assert (view["door"], view["problem"]) == (taken, "")
            assert (await node.http.get("/mesh/snapshot")).json()["notices"] == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/mesh/peers/pairing", {}, 400),
        ("POST", "/mesh/peers/pairing", {"id": "a" * 64}, 404),
        ("POST", "/mesh/peers/pairing", {"host": "x" * 300}, 400),
        ("POST", "/mesh/peers/pairing", {"host": "127.0.0.1", "port": 0}, 400),
        ("POST", "/mesh/peers/pairing", {"host": "127.0.0.1", "port": 1}, 409),
        ("POST", "/mesh/peers/pairing", {"host": "a b\r\nc", "port": 1}, 409),
        ("POST", "/mesh/peers/pairing/confirm", None, 404),
        ("POST", "/mesh/peers/pairing/refuse", None, 404),
        ("PATCH", "/mesh/peers/" + "a" * 64, {"paused": True}, 404),
        ("PATCH", "/mesh/peers/" + "a" * 64, {"max_in_flight": 0}, 400),
        ("PATCH", "/mesh/peers/" + "a" * 64, {"share_rings": ["moon"]}, 400),
        ("PATCH", "/mesh/peers/" + "a" * 64, {"id": "b" * 64}, 400),
        ("PATCH", "/mesh/peers", {"listen": True}, 400),
        ("DELETE", "/mesh/peers/" + "a" * 64, None, 404),
    ],
)
async def test_what_can_not_be_is_refused_in_words(
    node: Node, method: str, path: str, body: object, status: int
) -> None:
    error = await error_of(node, method, path, status, json=body)
    assert error["message"].isprintable()
