"""`/mesh` as a program uses it: over real HTTP, on a whole node."""

from pathlib import Path

import pytest
from keyring.errors import KeyringLocked

from backends.playback import PAGE, Playback
from gateway.bad_requests import error_of
from meshlight.backends.kinds import ring_for
from meshlight.simulator.engine import SimulatedEngine
from meshlight.storage.config.parser import read_config
from meshlight.storage.secrets.store import Secrets
from node import Node
from storage.memory_storage import FailingKeyring, MemoryKeyring

# The state.


async def test_the_snapshot_shows_the_whole_mesh(node: Node, engine: SimulatedEngine) -> None:
    seen = (await node.http.get("/mesh/snapshot")).json()
    assert seen["router"]["status"] == "running"
    assert seen["router"]["name"], "a node without a name of its own has the host's"
    assert (seen["light"], seen["light_reason"]) == ("green", "The backend is healthy.")
    [backend] = seen["backends"]
    assert (backend["id"], backend["kind"], backend["ring"], backend["url"]) == (
        "study",
        "llamacpp",
        "machine",
        engine.url,
    )
    assert backend["health"]["state"] == "healthy"
    assert seen["models"] == [{"id": "llama-3.2-3b", "backends": ["study"], "requests": None, "waiting": 0}]
    assert seen["notices"] == []


async def test_what_went_through_is_counted_in_the_snapshot(node: Node) -> None:
    await node.chat()
    await node.chat("nobody-has-this")
    seen = (await node.http.get("/mesh/snapshot")).json()
    total = seen["router"]["requests"]
    assert (total["total"], total["successful"], total["in_flight"]) == (2, 1, 0)
    work = seen["backends"][0]["requests"]
    assert (work["total"], work["successful"]) == (1, 1)
    assert work["first_byte_ms"] > 0
    assert work["tokens_out"] > 0


async def test_a_refresh_answers_at_once_or_when_it_is_over(node: Node, engine: SimulatedEngine) -> None:
    before = engine.request_log.total
    begun = await node.http.post("/mesh/refresh")
    assert begun.status_code == 202
    assert begun.json()["total"] == 1
    over = await node.http.post("/mesh/refresh?wait=true")
    assert over.status_code == 200
    assert (over.json()["done"], over.json()["total"]) == (1, 1)
    assert engine.request_log.total > before


# The list.


async def test_a_backend_is_added_shown_changed_and_removed(node: Node) -> None:
    async with SimulatedEngine("vllm", models=["qwen"]) as other:
        body = {"kind": "vllm", "url": other.url + "/v1/", "name": "Big box", "priority": 3}
        added = await node.http.post("/mesh/backends", json=body)
        assert added.status_code == 201, added.text
        assert (added.json()["id"], added.json()["url"]) == ("big-box", other.url)
        await node.until("big-box", "healthy")
        assert (await node.chat("qwen")).headers["x-meshlight-backend"] == "big-box"
        listed = (await node.http.get("/mesh/backends")).json()["backends"]
        assert [backend["id"] for backend in listed] == ["study", "big-box"]

        changed = await node.http.patch("/mesh/backends/big-box", json={"name": "Attic", "ring": "lan"})
        assert (changed.json()["name"], changed.json()["ring"]) == ("Attic", "lan")
        text = node.config_file.read_text()
        assert 'name = "Attic"' in text
        assert "# mine, keep it" in text

        removed = await node.http.delete("/mesh/backends/big-box")
        assert (removed.status_code, removed.content) == (204, b"")
        assert (await node.chat("qwen")).status_code == 404
        assert "Attic" not in node.config_file.read_text()
        await error_of(node, "GET", "/mesh/backends/big-box", 404)


async def test_one_that_does_not_answer_is_refused_with_cause_and_fix_and_can_be_kept_all_the_same(
    node: Node, engine: SimulatedEngine
) -> None:
    async with SimulatedEngine("ollama") as down:
        await down.fault("refuse")
        body = {"kind": "ollama", "url": down.url, "name": "down"}
        error = await error_of(node, "POST", "/mesh/backends", 422, json=body)
        assert error["code"] == "check_failed"
        assert "Connection refused" in error["message"]
        assert "ollama serve" in error["hint"]
        await error_of(node, "GET", "/mesh/backends/down", 404)
        kept = await node.http.post("/mesh/backends", json=body | {"save_anyway": True})
        assert kept.status_code == 201
        assert (await node.until("down", "unhealthy"))["health"]["fix"]
    again = await error_of(node, "POST", "/mesh/backends", 409, json={"kind": "llamacpp", "url": engine.url})
    assert "'study'" in again["hint"]


async def test_what_the_try_saw_is_in_the_answer(node: Node) -> None:
    async with SimulatedEngine("vllm", models=["qwen"]) as other:
        added = await node.http.post("/mesh/backends", json={"kind": "vllm", "url": other.url})
        assert (added.json()["health"]["state"], added.json()["models"]) == ("healthy", ["qwen"])
        assert added.json()["latency_ms"] > 0
        seen = await node.http.post(f"/mesh/backends/{added.json()['id']}/check")
        assert seen.json()["models"] == ["qwen"]


async def test_what_is_wrong_names_its_field(node: Node) -> None:
    async with SimulatedEngine("vllm", key="sk-right") as locked:
        for body, status, param in (
            ({"kind": "ollama"}, 400, "url"),
            ({"kind": "ollama", "url": "http://x", "access_key": "a"}, 400, "access_key"),
            ({"kind": "openai"}, 400, "api_key"),
            ({"kind": "nonsense", "url": "http://x"}, 400, "kind"),
            ({"kind": "vllm", "url": locked.url}, 422, "api_key"),
        ):
            error = await error_of(node, "POST", "/mesh/backends", status, json=body)
            assert error["param"] == param
            assert error["hint"]
    async with SimulatedEngine("vllm") as down:
        await down.fault("refuse")
        error = await error_of(node, "POST", "/mesh/backends", 422, json={"kind": "vllm", "url": down.url})
        assert (error["param"], "remove" in error["hint"]) == ("url", False)


async def test_one_that_is_added_switched_off_is_kept_without_being_asked(node: Node) -> None:
    async with SimulatedEngine("vllm") as other:
        body = {"kind": "vllm", "url": other.url, "name": "later", "enabled": False}
        assert (await node.http.post("/mesh/backends", json=body)).json()["enabled"] is False
        assert other.request_log.total == 0


async def test_a_key_goes_to_the_backend_and_never_comes_back(node: Node, tmp_path: Path) -> None:
    async with SimulatedEngine("vllm", key="sk-right", models=["qwen"]) as locked:
        body = {"kind": "vllm", "url": locked.url, "name": "locked", "api_key": "sk-wrong"}
        error = await error_of(node, "POST", "/mesh/backends", 422, json=body)
        assert "401" in error["message"]
        added = await node.http.post("/mesh/backends", json=body | {"save_anyway": True})
        assert added.status_code == 201
        assert (await node.until("locked", "unhealthy"))["health"]["reason"] == "unauthorized"
        changed = await node.http.patch("/mesh/backends/locked", json={"api_key": "sk-right"})
        assert changed.json()["health"]["state"] == "healthy", "at once, and not in a minute"
        assert (await node.chat("qwen")).status_code == 200
        everything = [
            added.text,
            changed.text,
            (await node.http.get("/mesh/snapshot")).text,
            (await node.http.get("/mesh/settings")).text,
            node.config_file.read_text(),
        ]
        assert not [text for text in everything if "sk-right" in text or "sk-wrong" in text]
        assert "sk-right" in (tmp_path / "secrets.json").read_text()
        await node.http.delete("/mesh/backends/locked")
        assert "sk-right" not in (tmp_path / "secrets.json").read_text()


async def test_a_check_tells_what_it_saw_and_what_is_believed(node: Node, engine: SimulatedEngine) -> None:
    good = (await node.http.post("/mesh/backends/study/check")).json()
    assert (good["ok"], good["text"], good["models"]) == (True, "Answers as it should.", ["llama-3.2-3b"])
    await engine.fault("refuse")
    bad = (await node.http.post("/mesh/backends/study/check")).json()
    assert bad["ok"] is False
    assert "Connection refused" in bad["text"]
    assert bad["fix"]
    assert bad["health"]["state"] == "healthy", "one failure is not believed yet"


async def test_one_that_is_switched_off_can_still_be_checked(node: Node, engine: SimulatedEngine) -> None:
    await node.http.post("/mesh/backends/study/disable")
    engine.models = ("new",)
    seen = (await node.http.post("/mesh/backends/study/check")).json()
    assert (seen["ok"], seen["models"]) == (True, ["new"])


async def test_off_and_on_last_and_the_file_keeps_the_users_words(
    node: Node, engine: SimulatedEngine
) -> None:
    off = (await node.http.post("/mesh/backends/study/disable")).json()
    assert off["enabled"] is False
    assert (await node.chat()).status_code in {404, 503}
    text = node.config_file.read_text()
    assert "enabled = false" in text
    assert text.removeprefix("lane = false\n").startswith("# mine, keep it\n")
    seen = engine.request_log.total
    await node.refresh()
    assert engine.request_log.total == seen
    on = (await node.http.post("/mesh/backends/study/enable")).json()
    assert on["enabled"] is True
    await node.until("study", "healthy")
    assert (await node.chat()).status_code == 200


async def test_a_found_engine_that_is_switched_off_is_off_after_a_restart_too(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp") as engine:
        name = f"llamacpp-{engine.port}"
        async with Node(tmp_path, discovery=True, ports=[engine.port]) as node:
            await node.until(name, "healthy")
            assert (await node.backend(name))["source"] == "found"
            await node.http.post(f"/mesh/backends/{name}/disable")
        seen = engine.request_log.total
        async with Node(tmp_path, discovery=True, ports=[engine.port]) as node:
            [backend] = (await node.http.get("/mesh/backends")).json()["backends"]
            assert (backend["id"], backend["enabled"]) == (name, False)
            assert engine.request_log.total == seen
            on = (await node.http.post(f"/mesh/backends/{name}/enable")).json()
            assert on["enabled"] is True
            await node.until(name, "healthy")


async def test_a_found_engine_that_is_removed_stays_away_until_it_is_added_by_hand(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp") as engine:
        name = f"llamacpp-{engine.port}"
        async with Node(tmp_path, discovery=True, ports=[engine.port]) as node:
            await node.until(name, "healthy")
            await node.http.delete(f"/mesh/backends/{name}")
            await node.refresh()
            assert (await node.http.get("/mesh/backends")).json()["backends"] == []
        async with Node(tmp_path, discovery=True, ports=[engine.port]) as node:
            assert (await node.http.get("/mesh/backends")).json()["backends"] == []
            settings = (await node.http.get("/mesh/settings")).json()
            assert settings["discovery"] == {"enabled": True, "ignored": [engine.url]}
            added = await node.http.post("/mesh/backends", json={"kind": "llamacpp", "url": engine.url})
            assert added.status_code == 201


@pytest.mark.parametrize("insists", [False, True])
async def test_who_changes_a_backend_s_address_does_not_get_its_key(
    node: Node, tmp_path: Path, *, insists: bool
) -> None:
    keyring = MemoryKeyring()
    node.service._settings._secrets = Secrets(file=tmp_path / "unused", environ={}, keyring=keyring)
    async with SimulatedEngine("vllm", key="sk-right") as here, Playback({"*": PAGE}) as there:
        body = {"kind": "vllm", "url": here.url, "name": "cloud", "api_key": "sk-right"}
        assert (await node.http.post("/mesh/backends", json=body)).status_code == 201
        moved = {"url": there.url, "save_anyway": insists}
        error = await error_of(node, "PATCH", "/mesh/backends/cloud", 400, json=moved)
        assert error["param"] == "api_key"
        assert f"was given for {here.url}" in error["message"]
        assert there.heads == []
        moved |= {"api_key": "sk-new", "save_anyway": True}
        assert (await node.http.patch("/mesh/backends/cloud", json=moved)).status_code == 200
        assert there.heads
        assert not [head for head in there.heads if "sk-right" in head]


async def test_a_url_that_is_changed_in_the_file_by_hand_is_asked_without_the_key(
    node: Node, tmp_path: Path
) -> None:
    node.service._settings._secrets = Secrets(file=tmp_path / "unused", environ={}, keyring=MemoryKeyring())
    async with SimulatedEngine("vllm", key="sk-right") as here, Playback({"*": PAGE}) as there:
        body = {"kind": "vllm", "url": here.url, "name": "cloud", "api_key": "sk-right"}
        assert (await node.http.post("/mesh/backends", json=body)).status_code == 201
        text = node.config_file.read_text().replace(here.url, there.url)
        node.service._settings.reload(read_config(text, ring_for))
        seen = (await node.http.post("/mesh/backends/cloud/check")).json()
        assert seen["health"]["reason"] == "secret-other-address"
        assert "meshlight secrets set cloud" in seen["fix"]
        assert not [head for head in there.heads if "sk-right" in head]


async def test_a_locked_keyring_is_told_with_its_fix_and_unlocking_it_is_enough(
    node: Node, tmp_path: Path
) -> None:
    keyring = FailingKeyring(KeyringLocked("locked"))
    node.service._settings._secrets = Secrets(file=tmp_path / "unused", environ={}, keyring=keyring)
    async with SimulatedEngine("vllm", key="sk-right") as locked:
        body = {"kind": "vllm", "url": locked.url, "name": "locked", "api_key": "sk-right"}
        error = await error_of(node, "POST", "/mesh/backends", 409, json=body)
        assert error["code"] == "secret"
        assert "MESHLIGHT_SECRET_LOCKED" in error["hint"]
        await error_of(node, "GET", "/mesh/backends/locked", 404)

        keyring.error = None
        assert (await node.http.post("/mesh/backends", json=body)).status_code == 201
        # The probe that began with the adding knows the key: a check joins it, and returns when it has ended.
        assert (await node.http.post("/mesh/backends/locked/check")).json()["ok"] is True
        # As after a restart: nothing is remembered, and the keyring is locked.
        keyring.error = KeyringLocked("locked")
        node.service._settings._secrets = Secrets(file=tmp_path / "unused", environ={}, keyring=keyring)
        seen = (await node.http.post("/mesh/backends/locked/check")).json()
        assert seen["ok"] is False
        assert "locked" in seen["text"].lower()
        assert "MESHLIGHT_SECRET_LOCKED" in seen["fix"]
        keyring.error = None
        assert (await node.http.post("/mesh/backends/locked/check")).json()["ok"] is True


async def test_paused_routing_turns_requests_away_in_words_and_survives_in_the_file(tmp_path: Path) -> None:
    async with SimulatedEngine("vllm", "a") as engine, Node(tmp_path, [engine]) as node:
        shown = (await node.http.patch("/mesh/settings", json={"paused": True})).json()
        assert shown["paused"] is True
        assert "paused = true" in node.config_file.read_text()
        answer = await node.chat()
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "paused")
        assert answer.headers["retry-after"] == "30"
        snapshot = (await node.http.get("/mesh/snapshot")).json()
        assert (snapshot["router"]["status"], snapshot["light"]) == ("paused", "grey")
        assert snapshot["light_reason"] == "Routing is paused."
        await node.http.patch("/mesh/settings", json={"paused": False})
        assert (await node.chat()).status_code == 200
        assert engine.calls()
