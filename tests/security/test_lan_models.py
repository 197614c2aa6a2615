"""Loading and unloading by a peer: only paired, only allowed, only shared, and over the pinned connection alone."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from meshlight.peers.tls import client_context
from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER
from security.paired_node import MALLORY, PairedNode, settled, simulated

CANARY = "canary-c0ffee"
MODELS = ("first", "shared", f"{CANARY}-here")
MANAGES = 'share_models = ["shared"]\nmay_manage = true'


@pytest.fixture
async def study() -> AsyncIterator[SimulatedEngine]:
    async with SimulatedEngine("ollama", f"{CANARY}-study", models=MODELS) as engine:
        yield engine


async def act(found: PairedNode, verb: str, body: object, status: int) -> bytes:
    answer = await found.request("POST", f"/peer/models/{verb}", body)
    assert answer.status == status, answer.raw
    assert CANARY.encode() not in answer.raw
    return answer.body


async def test_an_allowed_peer_loads_and_unloads_what_is_shared(
    tmp_path: Path, study: SimulatedEngine
) -> None:
    async with simulated(tmp_path, [study], MANAGES) as found:
        assert (await found.request("GET", "/peer/catalog")).json()["may_manage"] is True
        await act(found, "load", {"model": "shared"}, 204)
        assert study.facts.loaded == {"first", "shared"}
        assert study.calls("/api/generate")[-1].body == b'{"model":"shared"}', (
            "no guest keeps a model for ever"
        )
        await found.node.refresh()
        await act(found, "unload", {"model": "shared"}, 204)
        assert study.facts.loaded == {"first"}


async def test_one_that_is_not_allowed_does_neither(tmp_path: Path, study: SimulatedEngine) -> None:
    async with simulated(tmp_path, [study]) as found:
        assert (await found.request("GET", "/peer/catalog")).json()["may_manage"] is False
        for verb in ("load", "unload"):
            for model in ("shared", "nobody"):
                assert b"may_manage" in await act(found, verb, {"model": model}, 403)
        assert study.calls("/api/generate") == []


async def test_what_is_not_shared_and_what_is_forged_changes_nothing(
    tmp_path: Path, study: SimulatedEngine
) -> None:
    async with simulated(
        tmp_path, [study], MANAGES, f'{IN_ORDER}\n[routing.aliases]\nfast = "first"\n'
    ) as found:
        study_id = f"{study.name}/shared"
        for verb in ("load", "unload"):
            hidden = ("first", f"{CANARY}-here", "fast", study_id, "../shared", "", "nobody")
            for model in hidden:
                answer = await found.request("POST", f"/peer/models/{verb}", {"model": model})
                assert answer.status == 404, model
            forged: tuple[Any, ...] = (
                {"model": "shared", "force": True},
                {"model": "shared", "path": "/etc/passwd"},
                {"model": "shared", "args": ["--host", "0.0.0.0"]},
                {"model": ["shared"]},
                {"name": "shared"},
                {},
                [],
            )
            for body in forged:
                await act(found, verb, body, 400)
            await act(found, verb, {"model": "shared" * 2_000}, 413)
            for method in ("GET", "DELETE", "PUT"):
                assert (await found.request(method, f"/peer/models/{verb}")).status == 405
        for path in (
            "/peer/models",
            "/peer/models/pull",
            "/peer/models/delete",
            "/mesh/models",
            "/mesh/models/load",
        ):
            assert (await found.request("POST", path, {"model": "shared"})).status == 404
        for path in ("/api/pull", "/api/delete"):
            assert (await found.request("POST", path, {"model": "shared"})).status == 404
        assert study.calls("/api/generate") == []
        assert study.facts.loaded == {"first"}


async def test_an_empty_prompt_of_a_peer_unloads_nothing(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "attic", models=("shared",)) as attic,
        simulated(tmp_path, [attic], MANAGES) as found,
    ):
        answer = await found.request("POST", "/api/generate", {"model": "shared", "keep_alive": 0})
        assert answer.status == 400


async def test_the_term_holds_from_when_it_is_set_until_it_is_taken_back(
    tmp_path: Path, study: SimulatedEngine
) -> None:
    async with simulated(tmp_path, [study], 'share_models = ["shared"]') as found:
        peer = (await found.node.http.get("/mesh/peers")).json()["peers"][0]
        assert peer["may_manage"] is False
        for allowed, status in ((True, 204), (False, 403)):
            changed = await found.node.http.patch(f"/mesh/peers/{peer['id']}", json={"may_manage": allowed})
            assert changed.json()["peers"][0]["may_manage"] is allowed
            assert ("may_manage = true" in found.node.config_file.read_text()) is allowed
            await act(found, "load", {"model": "shared"}, status)


async def test_a_paused_peer_manages_nothing(tmp_path: Path, study: SimulatedEngine) -> None:
    async with simulated(tmp_path, [study], f"{MANAGES}\npaused = true") as found:
        await act(found, "load", {"model": "shared"}, 503)
        assert study.calls("/api/generate") == []


async def test_a_stranger_gets_nothing(tmp_path: Path, study: SimulatedEngine) -> None:
    async with simulated(tmp_path, [study], MANAGES) as found:
        body = b'{"model":"shared"}'
        raw = b"POST /peer/models/load HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (
            len(body),
            body,
        )
        stranger = client_context(MALLORY, found.certificate_pem)
        try:
            answer = await found.send(raw, stranger)
        except OSError:
            answer = None
        assert answer is None or answer.raw == b""
        await settled(found.node)
        assert study.calls("/api/generate") == []
