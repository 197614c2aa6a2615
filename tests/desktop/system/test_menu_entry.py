import configparser
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from meshlight.desktop.system.menu_entry import ICON_SIZES, FreedesktopMenuEntry, entry_text, menu_entry_here

COMMAND = ["/opt/my apps/python", "-P", "-m", "meshlight", "desktop"]


def test_the_entry_names_a_program_that_may_be_gone_and_its_icon_is_there_in_each_size(
    tmp_path: Path,
) -> None:
    ran: list[Sequence[str]] = []
    entry = FreedesktopMenuEntry(tmp_path, COMMAND, ran.append)
    written = entry.switch(on=True)
    assert entry.is_on
    assert all(file.is_file() for file in written)
    parser = configparser.RawConfigParser()
    parser.read(tmp_path / "applications/meshlight.desktop", "utf-8")
    section = parser["Desktop Entry"]
    assert section["TryExec"] == "/opt/my apps/python"
    assert section["Exec"] == '"/opt/my apps/python" "-P" "-m" "meshlight" "desktop"'
    for size in ICON_SIZES:
        with Image.open(tmp_path / f"icons/hicolor/{size}x{size}/apps/{section['Icon']}.png") as icon:
            assert icon.size == (size, size)
    assert ran == [["update-desktop-database", str(tmp_path / "applications")]]


def test_removing_it_leaves_a_home_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    entry = FreedesktopMenuEntry(tmp_path / "home/.local/share", COMMAND, stop=tmp_path)
    written = entry.switch(on=True)
    assert set(entry.switch(on=False)) == set(written)
    assert [path.name for path in tmp_path.rglob("*")] == ["theirs"]
    assert entry.switch(on=False) == []


@pytest.mark.skipif(not shutil.which("desktop-file-validate"), reason="no desktop-file-utils here")
def test_the_entry_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "meshlight.desktop"
    file.write_text(entry_text(COMMAND))
    done = subprocess.run(["desktop-file-validate", str(file)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_lies_where_the_base_directory_specification_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")
    monkeypatch.setenv("PATH", "")
    entry = menu_entry_here(COMMAND, home=tmp_path)
    assert entry is not None
    assert tmp_path / ".local/share/applications/meshlight.desktop" in entry.switch(on=True)
    entry.switch(on=False)
    assert list(tmp_path.iterdir()) == []
    for system in ("darwin", "win32"):
        monkeypatch.setattr(sys, "platform", system)
        assert menu_entry_here(COMMAND, home=tmp_path) is None
