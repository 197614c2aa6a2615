import configparser
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from meshlight.desktop.system.url_handler import (
    FILE,
    SCHEME_TYPE,
    LinkHandler,
    link_handler_here,
    without_default,
)

COMMAND = ["/opt/my apps/python", "-P", "-m", "meshlight", "link", "--"]


def test_the_entry_is_made_named_as_the_default_and_removed(tmp_path: Path) -> None:
    ran: list[Sequence[str]] = []
    handler = LinkHandler(tmp_path / "applications", COMMAND, ran.append)
    handler.switch(on=False)
    handler.switch(on=True)
    handler.switch(on=True)
    parser = configparser.RawConfigParser()
    parser.read(tmp_path / "applications" / FILE, "utf-8")
    section = parser["Desktop Entry"]
    assert section["MimeType"] == "x-scheme-handler/meshlight;"
    assert section["Exec"] == '"/opt/my apps/python" "-P" "-m" "meshlight" "link" "--" %u'
    assert section["NoDisplay"] == "true"
    assert ["xdg-mime", "default", FILE, SCHEME_TYPE] in ran
    handler.switch(on=False)
    assert list((tmp_path / "applications").iterdir()) == []
    assert ran[-1][0] == "update-desktop-database"


def test_a_desktop_without_those_tools_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    handler = LinkHandler(tmp_path / "applications", COMMAND)
    handler.switch(on=True)
    assert handler.is_on


@pytest.mark.skipif(not shutil.which("xdg-mime"), reason="no xdg-utils here")
def test_the_desktop_then_knows_who_opens_such_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(name, str(tmp_path / name))
    (tmp_path / "XDG_CONFIG_HOME").mkdir()
    for name in ("XDG_CURRENT_DESKTOP", "DESKTOP_SESSION", "KDE_SESSION_VERSION"):
        monkeypatch.delenv(name, raising=False)
    handler = link_handler_here(COMMAND)
    assert handler is not None
    handler.switch(on=True)
    asked = subprocess.run(
        ["xdg-mime", "query", "default", SCHEME_TYPE],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert asked.stdout.strip() == FILE


def test_it_lies_where_the_base_directory_specification_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_DATA_HOME", "not/absolute")
    monkeypatch.setenv("PATH", "")
    handler = link_handler_here(COMMAND, home=tmp_path)
    assert handler is not None
    handler.switch(on=True)
    assert (tmp_path / ".local/share/applications" / FILE).is_file()
    for system in ("darwin", "win32"):
        monkeypatch.setattr(sys, "platform", system)
        assert link_handler_here(COMMAND, home=tmp_path) is None


LINE = f"{SCHEME_TYPE}={FILE}\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (f"\n[Default Applications]\n{LINE}", ""),
        (f"[A]\nx=y\n\n[Default Applications]\n{LINE}", "[A]\nx=y\n"),
        (f"[Default Applications]\na=b\n{LINE}", "[Default Applications]\na=b\n"),
        (f"[Default Applications]\n{LINE}a=b\n", "[Default Applications]\na=b\n"),
        (f"[Default Applications]\n{LINE}\n[B]\nc=d\n", "\n[B]\nc=d\n"),
        (
            f"[Default Applications]\n{SCHEME_TYPE}=a.desktop;{FILE};\n",
            f"[Default Applications]\n{SCHEME_TYPE}=a.desktop;\n",
        ),
        ("[Default Applications]\ntext/html=x.desktop\n", "[Default Applications]\ntext/html=x.desktop\n"),
    ],
)
def test_of_the_users_choices_only_ours_is_taken_back(before: str, after: str) -> None:
    assert without_default(before) == after


@pytest.mark.skipif(not shutil.which("xdg-mime"), reason="no xdg-utils here")
@pytest.mark.parametrize(
    "choices", [None, b"[Default Applications]\ntext/html=\xff.desktop\n", b"[Other]\na=b\n"]
)
def test_a_home_is_byte_for_byte_as_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choices: bytes | None
) -> None:
    for name in (
        "XDG_DATA_HOME",
        "XDG_CONFIG_HOME",
        "XDG_CURRENT_DESKTOP",
        "DESKTOP_SESSION",
        "KDE_SESSION_VERSION",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    if choices is not None:
        (tmp_path / ".config").mkdir()
        (tmp_path / ".config/mimeapps.list").write_bytes(choices)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    handler = link_handler_here(COMMAND, home=tmp_path)
    assert handler is not None
    handler.switch(on=True)
    assert FILE in (tmp_path / ".config/mimeapps.list").read_text("utf-8", "replace")
    changed = handler.switch(on=False)
    assert changed == [tmp_path / ".local/share/applications" / FILE, tmp_path / ".config/mimeapps.list"]
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not (tmp_path / ".local").exists()
    assert handler.switch(on=False) == []
