"""What the user sets holds at once, lasts, and leaves the rest of the file as it is."""

import asyncio
from pathlib import Path

import pytest

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


async def test_a_blank_name_is_none(node: Node) -> None:
    before = (await node.http.get("/mesh/settings")).json()["name"]
    for name, found in ((" Lab ", "Lab"), ("   ", before)):
        assert (await node.http.patch("/mesh/settings", json={"name": name})).json()["name"] == found


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


async def test_nothing_goes_beyond_the_bound_and_both_the_list_and_the_error_say_why(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("llamacpp", "near") as near,
        SimulatedEngine("vllm", "far") as far,
        Node(tmp_path, [near, far], IN_ORDER) as node,
    ):
        await node.http.patch("/mesh/backends/far", json={"ring": "company"})
        await node.http.patch("/mesh/backends/near", json={"enabled": False})
        assert (await node.chat()).headers["x-meshlight-backend"] == "far"
        changed = await node.http.patch("/mesh/settings", json={"routing": {"bound": "lan"}})
        assert changed.json()["routing"]["bound"] == "lan"
        assert changed.json()["routing"]["policy"] == "priority"
        assert 'bound = "lan"' in node.config_file.read_text()
        why = "Your settings let no prompt go beyond the lan."
        routes = (await node.http.get("/mesh/route?model=llama-3.2-3b")).json()["routes"]
        assert {"far": why}.items() <= {route["backend"]: route["why"] for route in routes}.items()
        for model in ("llama-3.2-3b", "far/llama-3.2-3b"):
            answer = await node.chat(model)
            assert answer.status_code == 503
            assert why in answer.json()["error"]["message"]
            assert "meshlight settings set bound none" in answer.json()["error"]["hint"]
        await node.http.patch("/mesh/settings", json={"routing": {"bound": None}})
        assert (await node.chat()).headers["x-meshlight-backend"] == "far"
        assert "bound" not in node.config_file.read_text()


async def test_everything_of_the_page_is_kept_in_the_file_with_its_comments(node: Node) -> None:
    change = {"notifications": False, "keep_history": False, "check_updates": False, "key_storage": "file"}
    changed = (await node.http.patch("/mesh/settings", json=change)).json()
    assert change.items() <= changed.items()
    text = node.config_file.read_text()
    assert "# mine, keep it" in text
    for line in ("notifications = false", "keep_history = false", 'key_storage = "file"'):
        assert line in text
    assert "check_updates" not in text, "a default is not written"
    for key, value in (("key_storage", "vault"), ("notifications", "no"), ("keep_histori", True)):
        error = await error_of(node, "PATCH", "/mesh/settings", 400, json={key: value})
        assert error["param"] == key


async def test_a_folder_with_models_is_checked_and_the_field_is_named(node: Node, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    wrong = {"models": "no whole path", f"{tmp_path}/nowhere": "no folder", f"{tmp_path}/file": "is a file"}
    for folder, why in wrong.items():
        body = {"local": {"folders": [str(tmp_path), folder]}}
        error = await error_of(node, "PATCH", "/mesh/settings", 400, json=body)
        assert (error["param"], why in error["message"]) == ("local.folders[1]", True)
    body = {"local": {"folders": [str(tmp_path), str(tmp_path)]}}
    changed = (await node.http.patch("/mesh/settings", json=body)).json()
    assert changed["local"] == {"enabled": False, "folder": "", "folders": [str(tmp_path)]}
    changed = (await node.http.patch("/mesh/settings", json={"local": {"folders": []}})).json()
    assert changed["local"]["folders"] == []


async def test_a_folder_for_downloads_need_not_be_there_but_must_be_a_path(
    node: Node, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    wrong = {
        "models": "no whole path",
        "~nobody-of-this-name/models": "can't be used",
        "/\0": "no whole path",
        f"{tmp_path}/file": "is a file",
    }
    for folder, why in wrong.items():
        error = await error_of(node, "PATCH", "/mesh/settings", 400, json={"local": {"folder": folder}})
        assert (error["param"], why in error["message"]) == ("local.folder", True), folder
    body = {"local": {"folder": f"{tmp_path}/nowhere"}}
    assert (await node.http.patch("/mesh/settings", json=body)).status_code == 200


async def test_a_change_is_told_to_every_page(node: Node) -> None:
    async with node.http.stream("GET", "/mesh/events") as stream, asyncio.timeout(10):
        lines = stream.aiter_lines()
        async for line in lines:
            if line == "event: snapshot":
                break
        await node.http.patch("/mesh/settings", json={"notifications": False})
        async for line in lines:
            if line == "event: settings":
                break


async def test_history_that_is_not_kept_is_gone_and_a_cleared_one_begins_anew(node: Node) -> None:
    async def known() -> list[str]:
        return list((await node.http.get("/mesh/history")).json()["backends"])

    assert await known() == ["study"]
    assert (await node.http.delete("/mesh/history")).status_code == 204
    assert await known() == ["study"]
    await node.http.patch("/mesh/settings", json={"keep_history": False})
    await node.refresh()
    assert await known() == []
    await node.http.patch("/mesh/settings", json={"keep_history": True})
    assert await known() == ["study"]


async def test_start_at_login_is_switched_for_the_page(node: Node, tmp_path: Path) -> None:
    off = (await node.http.get("/mesh/settings/login")).json()
    assert (off["on"], off["can"], "autostart" in off["text"]) == (False, True, True)
    on = (await node.http.patch("/mesh/settings/login", json={"on": True})).json()
    assert (on["on"], on["text"]) == (True, "The icon in the tray starts at login.")
    assert (tmp_path / "autostart" / "meshlight.desktop").is_file()
    await node.http.patch("/mesh/settings/login", json={"on": False})
    assert not (tmp_path / "autostart" / "meshlight.desktop").exists()


async def test_where_keys_are_kept_is_told_with_the_reason_why_it_can_not_be_changed(node: Node) -> None:
    keyring = (await node.http.get("/mesh/settings/keyring")).json()
    assert (keyring["is_file"], keyring["ok"]) == (True, True)
    assert "--insecure-storage" in keyring["text"]


async def test_version_and_licences_are_told(node: Node) -> None:
    about = (await node.http.get("/mesh/settings/about")).json()
    assert about["licence"] == "Apache-2.0"
    licences = {one["name"]: one["licence"] for one in about["packages"]}
    assert "MIT" in licences["litestar"]
    assert all(licences.values())


async def test_without_a_keyring_a_cloud_key_is_kept_right_after_the_choice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.fail.Keyring")
    home = tmp_path / "home"
    async with (
        SimulatedEngine("vllm", "cloud") as cloud,
        Node(home, insecure_storage=False) as node,
    ):
        draft = {
            "kind": "vllm",
            "url": cloud.url,
            "api_key": "sk-canary-4711",
            "save_anyway": True,
        }

        async def asks() -> bool:
            return bool((await node.http.get("/mesh/settings")).json()["asks_key_storage"])

        assert not await asks()
        refused = await error_of(node, "POST", "/mesh/backends", 409, json=draft)
        assert (refused["code"], "meshlight settings set key_storage file" in refused["hint"]) == (
            "secret",
            True,
        )
        assert await asks()
        kept = await node.http.patch("/mesh/settings", json={"key_storage": "keyring"})
        assert not kept.json()["asks_key_storage"], "to refuse is a choice, too"
        await error_of(node, "POST", "/mesh/backends", 409, json=draft)
        assert not await asks()
        assert not (home / "secrets.json").exists()
        assert not (await node.http.get("/mesh/settings/keyring")).json()["ok"]
        await node.http.patch("/mesh/settings", json={"key_storage": "file"})
        assert (await node.http.post("/mesh/backends", json=draft)).status_code == 201
        assert "sk-canary-4711" in (home / "secrets.json").read_text()
        assert (home / "secrets.json").stat().st_mode & 0o077 == 0
        assert "sk-canary-4711" not in node.config_file.read_text()
        refused = await error_of(node, "PATCH", "/mesh/settings", 409, json={"key_storage": "keyring"})
        assert "sk-canary-4711" in (home / "secrets.json").read_text(), "what can't be moved stays"
        assert (await node.http.get("/mesh/settings")).json()["key_storage"] == "file"
