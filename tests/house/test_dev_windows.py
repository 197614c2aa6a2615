"""The setup for Windows and the app for macOS, as far as this system can look at them."""

from __future__ import annotations

import hashlib
import io
import plistlib
import runpy
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from shutil import which

import pytest

import dev_lint
import dev_macos
import dev_project
import dev_windows
from dev_frozen import hidden_modules
from dev_venv import ROOT, Failure

PE = b"MZ"
"""How a program of Windows begins; the launcher itself comes from PyPI when the setup is made."""


def _python(folder: Path) -> Path:
    """Return a stand-in for the embeddable Python, which can't be had without python.org."""
    folder.mkdir()
    for name in ("python.exe", "pythonw.exe", "python313.dll", "LICENSE.txt"):
        (folder / name).write_bytes(PE)
    (folder / "python313._pth").write_text("python313.zip\n.\n#import site\n")
    return folder


def test_a_program_is_a_launcher_a_line_that_names_its_python_and_a_zip(tmp_path: Path) -> None:
    content = dev_windows.program(PE, "pythonw.exe")
    assert content.startswith(PE + b"#!<launcher_dir>\\app\\pythonw.exe\r\nPK")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["__main__.py"]
    file = tmp_path / "meshlight.exe"
    file.write_bytes(content)
    done = subprocess.run([sys.executable, file, "version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(f"meshlight {dev_project.version()} ")


def test_the_embedded_python_finds_our_packages_and_nothing_of_the_user_s(tmp_path: Path) -> None:
    app = tmp_path / "app"
    dev_windows._place_python(_python(tmp_path / "python"), app)
    assert (app / "python313._pth").read_text().split("\n") == [
        "python313.zip", ".", "Lib\\site-packages", "import site", "",
    ]  # fmt: skip


def test_a_folder_that_is_no_embeddable_python_is_told(tmp_path: Path) -> None:
    (tmp_path / "python").mkdir()
    with pytest.raises(Failure, match=r"is not an embeddable Python .*: it has no python\.exe, pythonw\.exe"):
        dev_windows._place_python(tmp_path / "python", tmp_path / "app")


def test_a_download_that_is_not_what_was_pinned_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / f"python-{dev_windows.PYTHON}-embed-amd64.zip"
    archive.write_bytes(b"other")
    monkeypatch.setattr(dev_windows, "cache", lambda: tmp_path)
    with pytest.raises(Failure, match=hashlib.sha256(b"other").hexdigest()):
        dev_windows.download()
    assert not archive.exists()


@pytest.mark.skipif(not (which("makensis") and which("7z")), reason="needs Debian's nsis and p7zip-full")
def test_the_setup_is_made_and_has_all_files(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    dev_windows._place_python(_python(tmp_path / "python"), tree / "app")
    for name in (*dev_windows.PROGRAMS, "licences.txt"):
        (tree / name).write_bytes(PE)
    (tree / "meshlight.ico").write_bytes((ROOT / "icons" / "meshlight.ico").read_bytes())
    setup = dev_windows.pack(tree, tmp_path / "out")
    listed = subprocess.run(["7z", "l", "-ba", setup], capture_output=True, text=True, check=True).stdout
    inside = {line.split()[-1] for line in listed.splitlines()}
    expected = {file.relative_to(tree).as_posix() for file in tree.rglob("*") if file.is_file()}
    assert expected | {"uninstall.exe", "$PLUGINSDIR/setup.ps1"} <= inside


def test_the_setup_asks_nothing_of_an_administrator_and_keeps_settings_unless_told() -> None:
    script = (dev_windows.SCRIPTS / "setup.nsi").read_text()
    assert "RequestExecutionLevel user" in script
    assert "HKLM" not in script.replace("ReadRegStr $0 HKLM", "")
    assert "MB_DEFBUTTON2" in script
    assert "/SD IDNO" in script
    assert '"QuietUninstallString" \'"$INSTDIR\\uninstall.exe" /S\'' in script
    assert 'RMDir /r "$INSTDIR"' not in script  # the folder may be one of the user's


def test_the_property_lists_are_well() -> None:
    assert dev_macos.lint() is None
    plist = dev_macos.info_plist()
    assert plist["LSUIElement"] is True
    assert plist["CFBundleURLTypes"][0]["CFBundleURLSchemes"] == ["meshlight"]
    assert plist["NSBonjourServices"] == ["_meshlight._tcp"]
    assert all(plistlib.loads(dev_macos.ENTITLEMENTS.read_bytes()).values())


@pytest.mark.skipif(sys.platform == "darwin", reason="would make the app")
def test_the_app_is_made_on_macos_only(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="the app is made on macOS only"):
        dev_macos.make(tmp_path)


def test_without_secrets_the_app_is_not_signed_and_that_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dev_macos.sign(tmp_path / "Meshlight.app", tmp_path, {"APPLE_CERTIFICATE": "", "HOME": "/"})
    assert capsys.readouterr().out.startswith(
        "Not signed: APPLE_CERTIFICATE, APPLE_CERTIFICATE_PASSWORD is not set."
    )


def test_what_is_inside_is_signed_first(tmp_path: Path) -> None:
    app = tmp_path / "Meshlight.app"
    for name in ("Contents/MacOS/meshlight", "Contents/Frameworks/a/b.so", "Contents/Frameworks/c.dylib"):
        (app / name).parent.mkdir(parents=True, exist_ok=True)
        (app / name).touch()
    signed = [path.relative_to(tmp_path).as_posix() for path in dev_macos.inside_out(app)]
    assert signed == [
        "Meshlight.app/Contents/Frameworks/a/b.so", "Meshlight.app/Contents/Frameworks/c.dylib", "Meshlight.app",
    ]  # fmt: skip


def test_the_frozen_program_has_what_gtk_s_modules_import() -> None:
    assert {"optparse", "pkgutil", "http.server"} <= set(hidden_modules("linux"))
    assert "clr" in hidden_modules("win32")


@pytest.mark.parametrize(
    ("words", "is_app", "expected"),
    [
        ([], True, ["desktop"]),
        (["meshlight://add?kind=ollama"], True, ["link", "--start", "--", "meshlight://add?kind=ollama"]),
        (["status"], True, ["status"]),
        ([], False, []),
    ],
)
def test_a_click_on_the_app_opens_it_and_a_link_its_dialog(
    words: list[str], is_app: bool, expected: list[str]
) -> None:
    arguments: Callable[..., list[str]] = runpy.run_path(str(ROOT / "packaging" / "frozen" / "start.py"))[
        "arguments"
    ]
    assert arguments(words, is_app=is_app) == expected


def test_every_action_is_pinned_by_the_hash_of_a_commit() -> None:
    for file in dev_lint.SCHEMAS["vendor.github-workflows"]:
        for line in file.read_text().splitlines():
            _, uses, action = line.partition("uses: ")
            if uses and not action.startswith("./"):
                name, _, version = action.partition(" # ")
                assert len(name.partition("@")[2]) == 40, line
                assert version.startswith("v"), line
