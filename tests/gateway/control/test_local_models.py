"""`/mesh/models`: what it answers, what it refuses, and in which words."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec.structs import replace

from gateway.fake_local_models import FOREIGN, QWEN, FakeLocalModels
from gateway.local_gateway import LocalGateway, running
from meshlight.api_client.events import read_feed
from meshlight.domain.config import Config, LocalModelSettings, LocalSettings
from meshlight.domain.errors import BackendCheckFailed, Conflict
from meshlight.domain.events import LocalEvent
from meshlight.domain.local_views import LocalModelPatch
from meshlight.gateway.control.local_models import CHANGED_MAX, with_model_settings

ID = QWEN.id


@pytest.fixture
def local() -> FakeLocalModels:
    return FakeLocalModels(QWEN, FOREIGN)


@pytest.fixture
async def gateway(local: FakeLocalModels) -> AsyncIterator[LocalGateway]:
    async with running(local) as gateway:
        yield gateway


async def refusal(gateway: LocalGateway, method: str, path: str, status: int, **sent: Any) -> dict[str, Any]:
    answer = await gateway.http.request(method, f"/mesh/models{path}", **sent)
    assert answer.status_code == status, answer.text
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "code", "param", "hint"}
    assert error["message"].endswith((".", "?"))
    return error


async def test_everything_is_told_and_no_path_is(gateway: LocalGateway) -> None:
    view = (await gateway.http.get("/mesh/models")).json()
    assert view["enabled"] is True
    assert [model["id"] for model in view["models"]] == [ID, "borrowed"]
    assert "path" not in view["models"][0]
    assert view["memory"]["budget_bytes"] == 50_000


async def test_a_model_is_loaded_by_id_or_further_name_and_unloaded(
    gateway: LocalGateway, local: FakeLocalModels
) -> None:
    begun = await gateway.http.post("/mesh/models/load", json={"model": "owner/qwen"})
    assert (begun.status_code, begun.json()["state"]) == (202, "loading")
    done = await gateway.http.post("/mesh/models/load", json={"model": ID, "wait": True})
    assert (done.status_code, done.json()["state"]) == (200, "ready")
    gone = await gateway.http.post("/mesh/models/unload", json={"model": ID})
    assert (gone.status_code, gone.json()["state"]) == (200, "on-disk")
    assert local.calls == [("load", ID, False), ("load", ID, True), ("unload", ID, False)]


async def test_a_busy_model_is_unloaded_by_force_alone(gateway: LocalGateway, local: FakeLocalModels) -> None:
    local.busy.add(ID)
    error = await refusal(gateway, "POST", "/unload", 409, json={"model": ID})
    assert "answers 1 request now" in error["message"]
    assert (
        await gateway.http.post("/mesh/models/unload", json={"model": ID, "force": True})
    ).status_code == 200


async def test_a_download_is_begun_paused_resumed_and_cancelled(gateway: LocalGateway) -> None:
    begun = await gateway.http.post("/mesh/models/pull", json={"name": "starter"})
    assert (begun.status_code, begun.json()["state"]) == (202, "queued")
    at = f"/mesh/models/downloads/{begun.json()['id']}"
    assert (await gateway.http.post(f"{at}/pause")).json()["state"] == "paused"
    assert (await gateway.http.post(f"{at}/resume")).json()["state"] == "running"
    assert (await gateway.http.get("/mesh/models")).json()["downloads"][0]["name"] == "starter"
    assert (await gateway.http.delete(at)).status_code == 204
    for method, path in (("POST", "/pause"), ("POST", "/resume"), ("DELETE", "")):
        assert (await gateway.http.request(method, at + path)).status_code == 404


async def test_a_repository_is_listed_and_its_failure_is_told_in_words(
    gateway: LocalGateway, local: FakeLocalModels
) -> None:
    found = (await gateway.http.get("/mesh/models/repository", params={"name": "owner/qwen"})).json()
    assert found["files"][0]["name"] == "owner/qwen:Q4_K_M"
    local.fake_downloads.error = BackendCheckFailed("The hub can't be reached.", "Look at the network.")
    error = await refusal(gateway, "GET", "/repository", 422, params={"name": "owner/qwen"})
    assert error["message"] == "The hub can't be reached. Look at the network."
    assert (await refusal(gateway, "POST", "/pull", 422, json={"name": "owner/qwen"}))["hint"]


async def test_the_log_is_that_of_the_model(gateway: LocalGateway) -> None:
    log = (await gateway.http.get("/mesh/models/log", params={"model": "owner/qwen"})).json()
    assert log == {"model": ID, "lines": ["loaded"]}


async def test_a_model_of_ours_is_deleted_and_that_of_another_program_is_not(
    gateway: LocalGateway, local: FakeLocalModels
) -> None:
    error = await refusal(gateway, "DELETE", "", 409, params={"model": "borrowed"})
    assert "belongs to LM Studio" in error["message"]
    assert (await gateway.http.delete("/mesh/models", params={"model": ID})).status_code == 204
    assert list(local.models) == ["borrowed"]


async def test_settings_of_a_model_are_written_under_its_id(gateway: LocalGateway) -> None:
    body = {"model": "owner/qwen", "keep": True, "idle_s": 60, "context": 4096}
    assert (await gateway.http.patch("/mesh/models", json=body)).json()["id"] == ID
    assert gateway.settings.config.local.models == (
        LocalModelSettings(id=ID, keep=True, idle_s=60.0, context=4096),
    )
    await gateway.http.patch("/mesh/models", json={"model": ID, "hidden": True, "idle_s": -1, "context": 0})
    assert gateway.settings.config.local.models == (LocalModelSettings(id=ID, keep=True, hidden=True),)


def test_a_patch_that_changes_nothing_writes_no_entry_and_what_the_file_says_beside_it_stays() -> None:
    entry = LocalModelSettings(id="a", args=("--temp", "0"))
    config = Config(local=LocalSettings(models=(entry,)))
    assert with_model_settings(config, "b", LocalModelPatch(model="b", keep=False)) == config
    changed = with_model_settings(config, "a", LocalModelPatch(model="a", keep=True))
    assert changed.local.models == (replace(entry, keep=True),)


def test_the_configuration_does_not_grow_without_end() -> None:
    entries = tuple(LocalModelSettings(id=str(number)) for number in range(CHANGED_MAX))
    with pytest.raises(Conflict, match="settings of their own"):
        with_model_settings(
            Config(local=LocalSettings(models=entries)), "new", LocalModelPatch(model="new", keep=True)
        )


@pytest.mark.parametrize(
    ("method", "path", "sent", "status"),
    [
        ("POST", "/load", {"json": {"model": "nobody"}}, 404),
        ("POST", "/load", {"json": {"model": ID, "path": "/etc/passwd"}}, 400),
        ("POST", "/load", {"json": {"model": ID, "args": ["--host"]}}, 400),
        ("POST", "/load", {"json": {"model": ID, "wait": "yes"}}, 400),
        ("POST", "/load", {"json": {}}, 400),
        ("POST", "/unload", {"json": {"model": 5}}, 400),
        ("POST", "/unload", {"content": b"{", "headers": {"content-type": "application/json"}}, 400),
        ("POST", "/pull", {"json": {"name": ""}}, 400),
        ("POST", "/pull", {"json": {"name": "a\nb"}}, 400),
        ("POST", "/pull", {"json": {"name": "a" * 300}}, 400),
        ("POST", "/pull", {"json": {"name": "a/b", "folder": "/tmp"}}, 400),
        ("PATCH", "", {"json": {"model": ID, "args": ["--host"]}}, 400),
        ("PATCH", "", {"json": {"model": ID, "context": 5}}, 400),
        ("PATCH", "", {"json": {"model": ID, "context": 1 << 40}}, 400),
        ("PATCH", "", {"json": {"model": ID, "idle_s": 1e12}}, 400),
        ("PATCH", "", {"json": {"model": "nobody", "keep": True}}, 404),
        ("DELETE", "", {}, 400),
        ("DELETE", "", {"params": {"model": "nobody"}}, 404),
        ("GET", "/log", {"params": {"model": "nobody"}}, 404),
        ("GET", "/repository", {"params": {"name": "x"}}, 400),
        ("GET", "/repository", {"params": {"name": "a/\x00"}}, 400),
    ],
)
async def test_what_can_not_be_is_refused_in_words(
    gateway: LocalGateway, method: str, path: str, sent: dict[str, Any], status: int
) -> None:
    assert (await refusal(gateway, method, path, status, **sent))["message"].isprintable()


@pytest.mark.parametrize("has_models", [False, True])
async def test_switched_off_it_says_so(has_models: bool) -> None:
    local = FakeLocalModels(QWEN) if has_models else None
    if local is not None:
        local.enabled = False
    async with running(local) as gateway:
        assert (await gateway.http.get("/mesh/models")).json()["enabled"] is False
        for method, path, sent in (
            ("POST", "/load", {"json": {"model": ID}}),
            ("POST", "/unload", {"json": {"model": ID}}),
            ("POST", "/pull", {"json": {"name": "starter"}}),
            ("PATCH", "", {"json": {"model": ID}}),
            ("DELETE", "", {"params": {"model": ID}}),
            ("GET", "/log", {"params": {"model": ID}}),
            ("GET", "/repository", {"params": {"name": "a/b"}}),
            ("POST", "/downloads/d1/pause", {}),
            ("POST", "/downloads/d1/resume", {}),
            ("DELETE", "/downloads/d1", {}),
        ):
            error = await refusal(gateway, method, path, 409, **sent)
            assert "switched off" in error["message"]
            assert "[local]" in error["hint"]


async def test_the_key_is_needed_even_where_inference_is_open(gateway: LocalGateway) -> None:
    gateway.requires_key = False
    bare = {"authorization": ""}
    for method, path in (("GET", "/mesh/models"), ("POST", "/mesh/models/pull"), ("POST", "/api/pull")):
        answer = await gateway.http.request(method, path, headers=bare, json={"name": "starter"})
        assert answer.status_code == 401, path
    deleted = await gateway.http.request("DELETE", "/api/delete", headers=bare, json={"model": ID})
    assert deleted.status_code == 401
    assert gateway.local is not None
    assert (gateway.local.calls, gateway.local.downloads.views()) == ([], ())


async def test_a_page_of_another_origin_changes_nothing_even_where_it_may_use_inference(
    gateway: LocalGateway,
) -> None:
    gateway.origins = ("https://app.example",)
    from_page = {"origin": "https://app.example"}
    for path in ("/mesh/models/pull", "/api/pull"):
        answer = await gateway.http.post(path, headers=from_page, json={"name": "starter"})
        assert answer.status_code == 403, path
        assert "access-control-allow-origin" not in answer.headers


async def test_what_changes_is_an_event_that_clients_read(gateway: LocalGateway) -> None:
    async with gateway.http.stream("GET", "/mesh/events") as events:
        lines = events.aiter_lines()
        received: list[str] = []
        async for line in lines:
            received.append(line)
            if not line:
                if any(text == "event: local" for text in received):
                    break
                gateway.hub.publish(lambda seq: LocalEvent(seq=seq, models=(QWEN,), removed=("gone",)))
    *_, event = read_feed(received)
    assert isinstance(event, LocalEvent)
    assert (event.models, event.removed) == ((QWEN,), ("gone",))
