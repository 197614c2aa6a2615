import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshlight.cli.quit import end_all
from meshlight.cli.start import start_service
from meshlight.desktop.system.process import program
from meshlight.storage.paths import Paths
from process_fixture import Home

Type = Callable[..., Any]


@pytest.mark.skipif(sys.platform != "linux", reason="the app itself is the entry there")
def test_the_entry_is_made_and_unmade_and_each_file_is_named(
    type_words: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    made = type_words("desktop", "--install")
    assert made.code == 0
    assert f"Wrote {tmp_path}/home/.local/share/applications/meshlight.desktop\n" in made.out
    assert f"Wrote {tmp_path}/home/.local/share/applications/meshlight-link.desktop\n" in made.out
    unmade = type_words("desktop", "--remove")
    assert f"Removed {tmp_path}/home/.local/share/icons/hicolor/scalable/apps/meshlight.svg\n" in unmade.out
    left = [path for path in (tmp_path / "home").rglob("*") if path.is_file()]
    assert left == []


def test_both_at_once_can_t_be_meant(type_words: Type) -> None:
    assert type_words("desktop", "--install", "--remove").code == 1


def test_without_a_tray_the_service_is_started_once_and_runs_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path)
    monkeypatch.setenv("MESHLIGHT_HOME", str(tmp_path))
    paths = Paths.here()
    try:
        start_service(paths)
        first = home.runtime
        start_service(paths)
        assert home.runtime == first
        assert home.answers()
    finally:
        end_all(paths, stop_service_unit=lambda: None)


@pytest.mark.skipif(sys.platform == "win32", reason="there is always a tray")
def test_the_command_of_the_entry_says_what_is_missing_and_where_the_page_is(tmp_path: Path) -> None:
    home = Home(tmp_path)
    environ = {
        **os.environ,
        "MESHLIGHT_HOME": str(tmp_path),
        "MESHLIGHT_TRAY": "none",
        "BROWSER": "/bin/true",
    }
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        environ.pop(name, None)
    try:
        done = subprocess.run(program("desktop"), capture_output=True, text=True, check=False, env=environ)
        assert done.returncode == 0
        assert (
            "No tray icon, as MESHLIGHT_TRAY says. Meshlight runs in the background instead." in done.stderr
        )
        assert "End it with: meshlight quit" in done.stderr
        assert done.stdout.startswith(f"http://127.0.0.1:{home.port}/?code=")
        assert home.answers()
    finally:
        end_all(Paths.here({"MESHLIGHT_HOME": str(tmp_path)}), stop_service_unit=lambda: None)
