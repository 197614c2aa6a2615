from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from api_client.local_api import LocalApi
from desktop.own_models import QWEN, download, failed, loaded, local, model
from meshlight.api_client.client import SharedClient
from meshlight.desktop.tray.local_actions import LocalActions, download_text, ended_downloads
from meshlight.desktop.tray.menu_items import Action, Verb
from meshlight.domain.backend import Reason


class Told(list[tuple[str, str]]):
    def __call__(self, title: str, text: str) -> None:
        self.append((title, text))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def actions(api: LocalApi, told: Told) -> Iterator[LocalActions]:
    client = SharedClient(api.runtime_file)
    yield LocalActions(client, told)
    client.close()


@pytest.mark.parametrize(
    ("verb", "method", "path", "body"),
    [
        ("load", "POST", "/mesh/models/load", {"model": "m", "wait": True}),
        ("unload", "POST", "/mesh/models/unload", {"model": "m", "force": False}),
        ("keep", "PATCH", "/mesh/models", {"model": "m", "keep": True}),
        ("release", "PATCH", "/mesh/models", {"model": "m", "keep": False}),
        ("pull", "POST", "/mesh/models/pull", {"name": "m"}),
        ("pause-download", "POST", "/mesh/models/downloads/m/pause", None),
        ("resume-download", "POST", "/mesh/models/downloads/m/resume", None),
        ("cancel-download", "DELETE", "/mesh/models/downloads/m", None),
    ],
)
def test_each_click_is_one_request(
    api: LocalApi, actions: LocalActions, told: Told, verb: Verb, method: str, path: str, body: object
) -> None:
    api.says(method, path, download() if "pull" in path or "downloads" in path else loaded())
    actions.send(Action(verb, "m"), None)
    asked = api.asked[-1]
    assert (asked.method, asked.path, asked.body) == (method, path, body)
    assert told == []


def test_a_load_that_fails_is_told_with_its_reason(api: LocalApi, actions: LocalActions, told: Told) -> None:
    api.says("POST", "/mesh/models/load", failed())
    actions.send(Action("load", QWEN), None)
    api.fails("POST", "/mesh/models/load", 409, "conflict", "It needs 34 GB.", "Less context.")
    actions.send(Action("load", QWEN), None)
    assert told == [
        ("Qwen3-8B-GGUF:Q4_K_M could not be loaded.", "The file is incomplete. Download it again."),
        ("It needs 34 GB.", "Less context."),
    ]


def test_memory_is_freed_model_by_model_although_one_has_become_busy(
    api: LocalApi, actions: LocalActions, told: Told
) -> None:
    api.fails("POST", "/mesh/models/unload", 409, "conflict", "It answers a request.")
    actions.send(Action("free-memory"), local(loaded("a"), loaded("b"), loaded("c", keep=True), model("d")))
    assert [one.body["model"] for one in api.asked if one.body] == ["a", "b"]
    assert told == [("It answers a request.", "")] * 2


def test_a_service_that_ends_is_told_unless_a_load_waited_for_it(tmp_path: Path, told: Told) -> None:
    nobody = LocalActions(SharedClient(tmp_path / "runtime.json"), told)
    nobody.send(Action("load", "m"), None)
    assert told == []
    nobody.send(Action("unload", "m"), None)
    assert told[0][0] == "Meshlight isn't running."


def test_downloads_are_told_once_when_they_are_over() -> None:
    done = download(state="done", model="x/y:Q4_K_M")
    broken = download(id="d2", state="failed", reason=Reason("disk", "The disk is full.", "Make room."))
    before = local(downloads=(download(), download(id="d2")))
    now = local(downloads=(done, broken, download(id="new", state="done")))
    assert ended_downloads(before, now) == [done, broken]
    assert ended_downloads(now, now) == []
    assert ended_downloads(None, now) == []
    assert download_text(done) == ("y:Q4_K_M is here.", "It is loaded when it is asked for.")
    assert download_text(broken) == (
        "The download of Qwen3-4B-GGUF:Q4_K_M failed.",
        "The disk is full. Make room.",
    )
    assert download_text(replace(broken, name="starter"))[0] == "The download of the starter model failed."
