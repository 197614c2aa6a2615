"""What the user sets holds at once, lasts, and leaves the rest of the file as it is."""

from pathlib import Path

from gateway.bad_requests import error_of
from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node


async def test_an_alias_holds_at_once(node: Node) -> None:
    changed = await node.http.patch("/mesh/settings", json={"routing": {"aliases": {"best": "llama-3.2-3b"}}})
    assert changed.json()["routing"]["aliases"] == {"best": "llama-3.2-3b"}
    assert changed.json()["routing"]["policy"] == "priority", "what was not named stays"
    listed = (await node.http.get("/v1/models")).json()["data"]
    assert [model["id"] for model in listed] == ["llama-3.2-3b", "best"]
    assert (await node.chat("best")).status_code == 200
    assert "# mine, keep it" in node.config_file.read_text()
    await node.http.patch("/mesh/settings", json={"routing": {"aliases": {}}})
    assert len((await node.http.get("/v1/models")).json()["data"]) == 1


async def test_a_rule_holds_at_once(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "a") as a,
        SimulatedEngine("vllm", "b") as b,
        Node(tmp_path, [a, b], IN_ORDER) as node,
    ):
        assert (await node.chat()).headers["x-meshlight-backend"] == "a"
        rules = [{"model": "llama-*", "pin": ["b"]}]
        changed = await node.http.patch("/mesh/settings", json={"routing": {"rules": rules}})
        assert changed.status_code == 200
        assert (await node.chat()).headers["x-meshlight-backend"] == "b"
        reply = (await node.http.get("/mesh/route?model=llama-3.2-3b")).json()
        assert "pinned to b" in reply["routes"][1]["why"]


async def test_the_name_and_the_search_are_set_and_the_rest_stays(node: Node) -> None:
    ignored = {"discovery": {"ignored": ["http://127.0.0.1:8080"]}}
    await node.http.patch("/mesh/settings", json=ignored)
    await node.http.patch("/mesh/settings", json={"name": "Lab", "discovery": {"enabled": False}})
    settings = (await node.http.get("/mesh/settings")).json()
    assert settings["name"] == "Lab"
    assert settings["discovery"] == {"enabled": False, "ignored": ["http://127.0.0.1:8080"]}
    assert (await node.http.get("/mesh/snapshot")).json()["router"]["name"] == "Lab"
    assert settings["config_file"] == str(node.config_file)


async def test_opening_v1_takes_effect_at_once_and_leaves_mesh_closed(node: Node) -> None:
    bare = {"authorization": ""}
    assert (await node.http.get("/v1/models", headers=bare)).status_code == 401
    await node.http.patch("/mesh/settings", json={"require_key": False})
    assert (await node.http.get("/v1/models", headers=bare)).status_code == 200
    assert (await node.http.get("/mesh/settings", headers=bare)).status_code == 401


async def test_settings_change_all_or_none(node: Node) -> None:
    before = node.config_file.read_text()
    wrong = {"name": "Lab", "discovery": {"ignored": ["nonsense"]}}
    error = await error_of(node, "PATCH", "/mesh/settings", 400, json=wrong)
    assert "nonsense" in error["message"]
    assert node.config_file.read_text() == before


async def test_a_broken_file_refuses_changes_and_says_which_line(node: Node) -> None:
    node.config_file.write_text("port = 1\nrouting = [\n")
    error = await error_of(node, "PATCH", "/mesh/settings", 409, json={"name": "Lab"})
    assert error["code"] == "config"
    assert "line" in error["message"]
    assert node.config_file.read_text() == "port = 1\nrouting = [\n"
