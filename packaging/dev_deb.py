"""The Debian packages, by `dpkg-deb`, which every Debian and Ubuntu has."""

from __future__ import annotations

import email.utils
import gzip
import hashlib
from pathlib import Path

import dev_linux
import dev_project
from dev_linux import DESCRIPTION, DESKTOP_DESCRIPTION, DESKTOP_SUMMARY, MAINTAINER, SUMMARY, Staged

PYTHON = "python3 (>= 3.11~), python3 (<< 3.15~), libc6 (>= 2.28)"
POSTINST = """\
#!/bin/sh
set -e
case "$1" in
configure)
{compile}
    if [ -n "$2" ]; then
{restart}
    fi
    ;;
triggered) # another Python has become the distribution's own
{compile}
    ;;
esac
"""
PRERM = """\
#!/bin/sh
set -e
case "$1" in
remove | deconfigure)
{end_all}
    ;;
esac
{clean}
"""
TRIGGERS = "interest-noawait /usr/bin/python3\n"


def build(staged: Staged, out: Path) -> list[Path]:
    """Pack both packages into the folder `out` and return them. Raises Failure."""
    release = f"{staged.version}-1"
    main = control(
        "meshlight", release, staged.architecture, SUMMARY, DESCRIPTION, _size(staged.main),
        ("Depends", PYTHON), ("Recommends", "ca-certificates"), ("Suggests", "meshlight-desktop"),
    )  # fmt: skip
    desktop = control(
        "meshlight-desktop", release, "all", DESKTOP_SUMMARY, DESKTOP_DESCRIPTION, _size(staged.desktop),
        ("Depends", f"meshlight (>= {staged.version}), python3-gi, gir1.2-gtk-3.0, gir1.2-webkit2-4.1"),
        ("Recommends", "xdg-utils, gnome-keyring | kwalletmanager | keepassxc"),
    )  # fmt: skip
    documents = staged.main / "usr" / "share" / "doc" / "meshlight"
    (documents / "changelog.Debian.gz").write_bytes(gzip.compress(changelog(release).encode(), 9, mtime=0))
    link = staged.desktop / "usr" / "share" / "doc" / "meshlight-desktop"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to("meshlight")
    return [
        _pack(staged.main, main, scripts(), out / f"meshlight_{release}_{staged.architecture}.deb"),
        _pack(staged.desktop, desktop, {}, out / f"meshlight-desktop_{release}_all.deb"),
    ]


def scripts() -> dict[str, str]:
    """Return what dpkg runs at installation and removal, by the file's name."""
    indented, script = dev_linux.indented, dev_linux.script
    return {
        "postinst": POSTINST.format(
            compile=indented(script("compile")), restart=indented(indented(script("restart")))
        ),
        "prerm": PRERM.format(end_all=indented(script("end-all")), clean=script("clean")),
        "triggers": TRIGGERS,
    }


def control(
    name: str,
    release: str,
    architecture: str,
    summary: str,
    description: tuple[str, ...],
    size_kb: int,
    *relations: tuple[str, str],
) -> str:
    """Return the file `control` of one package."""
    fields = (
        ("Package", name),
        ("Version", release),
        ("Architecture", architecture),
        ("Maintainer", MAINTAINER),
        ("Installed-Size", str(size_kb)),
        *relations,
        ("Section", "net"),
        ("Priority", "optional"),
        ("Homepage", dev_project.homepage()),
        ("Description", "\n ".join((summary, *description))),
    )
    return "".join(f"{field}: {value}\n" for field, value in fields)


def changelog(release: str) -> str:
    """Return Debian's own changelog of one entry; what changed for people is in `changelog.gz`."""
    date = email.utils.formatdate(dev_project.epoch(), usegmt=False)
    return f"""\
meshlight ({release}) stable; urgency=medium

  * New release; its changes are in changelog.gz.

 -- {MAINTAINER}  {date}
"""


def _pack(root: Path, fields: str, files: dict[str, str], deb: Path) -> Path:
    folder = root / "DEBIAN"
    folder.mkdir()
    (folder / "control").write_text(fields, encoding="utf-8")
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
        if name != "triggers":
            (folder / name).chmod(dev_linux.MODE)
    (folder / "md5sums").write_text(_checksums(root), encoding="utf-8")
    deb.parent.mkdir(exist_ok=True)
    dev_linux.pack(
        ["dpkg-deb", "--root-owner-group", "-Zxz", "-z9", "--build", str(root), str(deb)], root.parent
    )
    return deb


def _checksums(root: Path) -> str:
    """Return what `debsums` compares the installed files with; it asks for MD5."""
    return "".join(
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(root)}\n"
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.is_symlink() and "DEBIAN" not in path.parts
    )


def _size(root: Path) -> int:
    """Return the size of the files in KiB, each rounded up, as Debian's policy counts."""
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    return sum(-(-path.stat().st_size // 1024) for path in files)
