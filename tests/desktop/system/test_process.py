import subprocess
import sys
from pathlib import Path

import pytest

from meshlight.desktop.system.opener import open_file
from meshlight.desktop.system.process import (
    HAS_KEY,
    environment,
    program,
    receive_key,
    restore_loader_variables,
    service_environment,
    start_detached,
)
from meshlight.desktop.system.screen import has_screen
from process_fixture import wait_until


def test_a_folder_of_our_name_where_meshlight_is_started_is_not_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "meshlight").mkdir()
    (tmp_path / "meshlight" / "__main__.py").write_text("print('stranger')")
    done = subprocess.run(program("version"), cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("meshlight ")


def test_a_frozen_program_is_started_as_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert program("serve") == [sys.executable, "serve"]


@pytest.fixture
def on_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "app" / "python.exe"))
    (tmp_path / "app").mkdir()
    return tmp_path


def test_on_windows_what_has_a_window_is_run_by_the_setup_s_program_without_a_console(
    on_windows: Path,
) -> None:
    (on_windows / "meshlightw.exe").touch()
    assert program("tray", windowed=True) == [str(on_windows / "meshlightw.exe"), "tray"]
    assert program("serve")[0] == sys.executable


def test_on_windows_pip_s_installation_has_no_console_either(on_windows: Path) -> None:
    assert program("tray", windowed=True)[0] == sys.executable
    (on_windows / "app" / "pythonw.exe").touch()
    assert program("tray", windowed=True) == [
        str(on_windows / "app" / "pythonw.exe"), "-P", "-m", "meshlight", "tray",
    ]  # fmt: skip


def test_a_frozen_program_s_window_is_the_program_beside_it(
    on_windows: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert program("tray", windowed=True) == [sys.executable, "tray"]
    (on_windows / "app" / "meshlightw.exe").touch()
    assert program("tray", windowed=True) == [str(on_windows / "app" / "meshlightw.exe"), "tray"]


def test_where_a_frozen_program_finds_its_libraries_no_child_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"LD_LIBRARY_PATH": "/in", "LD_LIBRARY_PATH_ORIG": "/own", "DYLD_LIBRARY_PATH": "/in", "A": "1"}
    restore_loader_variables(environ)
    assert environ["LD_LIBRARY_PATH"] == "/in"  # not frozen: it is the user's own
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    restore_loader_variables(environ)
    assert environ == {"LD_LIBRARY_PATH": "/own", "A": "1"}


def test_a_child_does_not_take_our_parent_for_its_own() -> None:
    assert environment({"A": "1"}, {"MESHLIGHT_PARENT": "stdin", "B": "2"}) == {"A": "1", "B": "2"}


SECRETS = {
    "MESHLIGHT_KEY": "ml-0123456789abcdef",
    "MESHLIGHT_SECRET_BOX": "sk-1",
    "MESHLIGHT_SECRET_BOX_FILE": "/x",
}


def test_a_child_inherits_no_secret_but_the_service_gets_them_all() -> None:
    environ = SECRETS | {"PATH": "/bin", "MESHLIGHT_HOME": "/home"}
    assert environment({}, environ) == {"PATH": "/bin", "MESHLIGHT_HOME": "/home"}
    assert service_environment({"A": "1"}, environ) == environ | {"A": "1"}


def test_secrets_are_taken_out_of_the_environment_and_kept_for_ourselves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    script = """
import os, subprocess, sys
from meshlight.domain.private_variables import OWN_VARIABLES, remove_private
from meshlight.desktop.system.process import service_environment
from meshlight.storage.local_key import LocalKey
from pathlib import Path
remove_private()
left = subprocess.run([sys.executable, "-c", "import os; print(*os.environ)"], capture_output=True, text=True)
assert "MESHLIGHT_KEY" not in left.stdout and "MESHLIGHT_SECRET" not in left.stdout, left.stdout
assert LocalKey.open(Path("/nowhere")).reveal() == OWN_VARIABLES["MESHLIGHT_KEY"] == "ml-0123456789abcdef"
assert service_environment({})["MESHLIGHT_SECRET_BOX"] == "sk-1"
"""
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.skipif(sys.platform == "win32", reason="a script of the shell")
def test_a_window_hears_the_key_from_who_starts_it_and_not_from_its_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MESHLIGHT_KEY", SECRETS["MESHLIGHT_KEY"])
    received = tmp_path / "heard"
    script = """
import os, sys
from pathlib import Path
from meshlight.desktop.system.process import receive_key
from meshlight.domain.private_variables import OWN_VARIABLES
was = os.environ.get("MESHLIGHT_KEY")
receive_key()
told = f"{was} {OWN_VARIABLES['MESHLIGHT_KEY']} {os.environ.get('MESHLIGHT_KEY_IS_TOLD')}"
Path(sys.argv[1] + ".new").write_text(told)
Path(sys.argv[1] + ".new").rename(sys.argv[1])
"""
    start_detached([sys.executable, "-c", script, str(received)])
    wait_until(received.exists)
    assert received.read_text() == f"None {SECRETS['MESHLIGHT_KEY']} None"


def test_who_is_told_no_key_reads_nothing() -> None:
    environ = {"A": "1"}
    receive_key(environ, -1)
    assert environ == {"A": "1"}
    assert not HAS_KEY.items() <= environ.items()


@pytest.mark.skipif(sys.platform != "linux", reason="xdg-open is Linux's")
def test_a_file_is_opened_by_the_desktop_and_one_that_is_not_there_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, opener, opened = tmp_path / "a log;", tmp_path / "xdg-open", tmp_path / "opened"
    assert not open_file(file)
    file.touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not open_file(file)  # no opener
    opener.write_text(f"#!/bin/sh\nprintf %s \"$1\" > '{opened}'\n")
    opener.chmod(0o700)
    assert open_file(file)
    wait_until(lambda: opened.exists() and opened.read_text() == str(file))


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere there is always a screen")
def test_a_screen_is_what_a_variable_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert not has_screen()
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert has_screen()
