"""What the two Linux packages have in them, as folders that `dev_deb` and `dev_rpm` then pack.

`meshlight` is the service and the command line; a server gets no desktop by it. `meshlight-desktop` has the menu
entry and the icons, and depends on GTK's WebKit for the window.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import dev_project
import dev_tree
import dev_venv
from dev_venv import ROOT, Failure, python, tail

SCRIPTS = ROOT / "packaging" / "linux"
MAINTAINER = "The Meshlight authors <meshlight@users.noreply.github.com>"
SUMMARY = "every language model you can reach, behind one local address"
DESCRIPTION = (
    "Meshlight finds the language models of this machine, your network and your",
    "cloud accounts, and answers at one OpenAI-compatible address: each request",
    "goes to the best place, and to the next one when that fails.",
)
DESKTOP_SUMMARY = "menu entry, icons and window of Meshlight"
DESKTOP_DESCRIPTION = (
    "Adds Meshlight to the menu of applications, opens meshlight:// links with it,",
    "and brings what its window is shown with.",
)
MODE = 0o755


@dataclass(frozen=True)
class Staged:
    """Two folders, each with all files of one package."""

    main: Path
    desktop: Path
    version: str
    architecture: str


def stage(work: Path, wheels: Mapping[str, Path], architecture: str) -> Staged:
    """Write the files of both packages below `work`, with the wheel of each Python. Raises Failure."""
    staged = Staged(work / "main", work / "desktop", dev_project.version(), architecture)
    dev_tree.make(staged.main, wheels, architecture, work)
    (staged.main / "usr" / "bin").mkdir(parents=True)
    (staged.main / "usr" / "bin" / "meshlight").symlink_to(f"/{dev_tree.PREFIX}/bin/meshlight")
    _assets(staged, work / "assets")
    documents = staged.main / "usr" / "share" / "doc" / "meshlight"
    documents.mkdir(parents=True)
    _gzip(documents / "changelog.gz", (ROOT / "CHANGELOG.md").read_bytes())
    (documents / "copyright").write_text(
        copyright_text(dev_tree.licences(staged.main / dev_tree.PREFIX)), encoding="utf-8"
    )
    return staged


def script(*parts: str) -> str:
    """Return pieces of packaging/linux, one after the other."""
    return "\n".join((SCRIPTS / f"{part}.sh").read_text(encoding="utf-8").strip() for part in parts)


def indented(text: str) -> str:
    """Return a piece of a shell script as the inside of a `case` or `if`."""
    return "\n".join(f"    {line}" if line else "" for line in text.splitlines())


def pack(command: list[str], cwd: Path) -> None:
    """Run a packer. Raises Failure with its last words."""
    variables = {**os.environ, "SOURCE_DATE_EPOCH": str(dev_project.epoch()), "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env=variables)
    except FileNotFoundError:
        raise Failure(f"{command[0]} is not here.") from None
    if done.returncode != 0:
        raise Failure(f"{command[0]} failed:\n{tail(done.stdout + done.stderr)}")


def copyright_text(licences: list[str]) -> str:
    """Return the file `copyright`: our licence, and one line for each package that is inside."""
    lines = "\n".join(f"  {line}" for line in licences)
    return f"""\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: meshlight
Source: {dev_project.homepage()}
Comment: The packages below are inside, each with its own licence in
 /{dev_tree.PREFIX}/lib/python3/site-packages/*.dist-info:
{lines}

Files: *
Copyright: 2026 The Meshlight authors
License: Apache-2.0
 The full text is in /usr/share/common-licenses/Apache-2.0 on Debian, and in
 /{dev_tree.PREFIX}/lib/python3/site-packages/meshlight-{dev_project.version()}.dist-info/licenses/LICENSE.

Files: {dev_tree.PREFIX}/lib/python3/site-packages/meshlight/_web/fonts/*
Copyright: see OFL.txt beside the fonts
License: OFL-1.1
 The full text is in OFL.txt beside the fonts.
"""


def _assets(staged: Staged, folder: Path) -> None:
    """Let the product write its man page, entries and icons, and share them out to the packages. Raises Failure."""
    done = subprocess.run(
        python(str(ROOT / "packaging" / "dev_assets.py"), str(folder)),
        capture_output=True, text=True, check=False, env=dev_venv.environment(dev_venv.VENV),
    )  # fmt: skip
    if done.returncode != 0:
        raise Failure(f"man page and entries could not be made:\n{tail(done.stderr)}")
    for file in [file for file in folder.rglob("*") if file.is_file()]:
        inside = file.relative_to(folder)
        is_desktop = re.match(r"share/(applications|icons)/", inside.as_posix()) is not None
        target = (staged.desktop if is_desktop else staged.main) / "usr" / inside
        target.parent.mkdir(parents=True, exist_ok=True)
        if inside.parts[:2] == ("share", "man"):
            _gzip(target.with_name(f"{target.name}.gz"), file.read_bytes())
        else:
            shutil.copyfile(file, target)


def _gzip(file: Path, content: bytes) -> None:
    file.write_bytes(gzip.compress(content, 9, mtime=0))
