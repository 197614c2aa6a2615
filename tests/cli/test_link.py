from collections.abc import Callable
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from api_client.local_api import LocalApi
from meshlight.desktop.system.instance_signal import ActivationListener
from meshlight.desktop.window.launcher import INSTANCE_SOCKET
from meshlight.storage.paths import Paths

Type = Callable[..., Any]
LINK = "meshlight://add?kind=ollama&url=http://gpu.lan:11434&name=Big%20box"
FRAGMENT = "add?kind=ollama&url=http%3A%2F%2Fgpu.lan%3A11434&name=Big%20box"


def test_the_page_opens_with_the_link_in_its_fragment_and_nothing_is_added(
    api: LocalApi, type_words: Type
) -> None:
    api.says("POST", "/mesh/session/code", {"url": f"{api.url}/?code=once"})
    said = type_words("link", "--print", LINK)
    assert (said.code, said.out) == (0, f"{api.url}/?code=once#{FRAGMENT}\n")
    assert {one.path for one in api.asked} == {"/healthz", "/mesh/session/code"}


@pytest.mark.usefixtures("api")
def test_an_open_window_gets_the_link(type_words: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    rung: Queue[str] = Queue()
    places = Paths.here()
    places.prepare()
    monkeypatch.setenv("DISPLAY", ":nowhere")
    with ActivationListener(places.state_dir, INSTANCE_SOCKET, rung.put):
        said = type_words("link", LINK)
        assert rung.get(timeout=5) == FRAGMENT
    assert (said.code, rung.empty()) == (0, True)


@pytest.mark.parametrize(
    "link",
    [
        "meshlight://add?kind=ollama&url=http://x&api_key=sk-1",
        "meshlight://remove?kind=ollama",
        "--help-me",
        "https://x",
    ],
)
def test_a_link_that_is_not_ours_is_refused_before_anything_is_asked(
    api: LocalApi, type_words: Type, link: str
) -> None:
    said = type_words("link", "--", link)
    assert said.code == 1
    assert "sk-1" not in said.err
    assert api.asked == []


@pytest.mark.parametrize("words", [[], ["--register", "--unregister"], ["--register", LINK]])
def test_what_can_t_be_meant_is_said(type_words: Type, words: list[str]) -> None:
    said = type_words("link", *words)
    assert said.code == 1
    assert said.err.startswith(("Error: No link was given.", "Error: --register and --unregister"))


def test_the_desktop_is_told_and_untold(
    type_words: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert type_words("link", "--register").out == "meshlight:// links open with Meshlight.\n"
    assert (tmp_path / "data/applications/meshlight-link.desktop").is_file()
    assert type_words("link", "--unregister").out == "meshlight:// links no longer open.\n"
    assert not (tmp_path / "data/applications/meshlight-link.desktop").exists()
