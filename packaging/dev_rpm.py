"""The RPM packages, by `rpmbuild`, of the same files as the Debian ones."""

from __future__ import annotations

from pathlib import Path

import dev_linux
import dev_project
from dev_linux import DESCRIPTION, DESKTOP_DESCRIPTION, DESKTOP_SUMMARY, SUMMARY, Staged

ARCHITECTURES = {"amd64": "x86_64", "arm64": "aarch64"}
SPEC = """\
%define _binary_payload w9.xzdio
%define _build_id_links none
%define __os_install_post %{{nil}}
%define debug_package %{{nil}}
Name: {name}
Version: {version}
Release: 1
Summary: {summary}
License: Apache-2.0 AND OFL-1.1
URL: {url}
AutoReqProv: no
{fields}

%description
{description}

%install
cp -a {root}/. %{{buildroot}}/

%files
{files}
{scripts}
"""
SCRIPTS = """\
%post
{compile}
if [ "$1" -gt 1 ]; then
{restart}
fi

%preun
if [ "$1" -eq 0 ]; then
{end_all}
{clean}
fi
"""
OWNED = ("opt/meshlight",)
"""Folders that belong to the package with all that is in them; other folders belong to the system."""


def build(staged: Staged, out: Path) -> list[Path]:
    """Pack both packages into the folder `out` and return them. Raises Failure."""
    indented, script = dev_linux.indented, dev_linux.script
    scripts = SCRIPTS.format(
        compile=script("compile"),
        restart=indented(script("restart")),
        end_all=indented(script("end-all")),
        clean=indented(script("clean")),
    )
    architecture = ARCHITECTURES[staged.architecture]
    main = spec(
        "meshlight", staged, staged.main, SUMMARY, DESCRIPTION, scripts,
        "Requires: python3 >= 3.11", "Requires: python3 < 3.15", "Suggests: meshlight-desktop",
    )  # fmt: skip
    desktop = spec(
        "meshlight-desktop", staged, staged.desktop, DESKTOP_SUMMARY, DESKTOP_DESCRIPTION, "",
        "BuildArch: noarch", f"Requires: meshlight >= {staged.version}", "Requires: python3-gobject",
        "Requires: gtk3", "Requires: webkit2gtk4.1", "Requires: hicolor-icon-theme",
    )  # fmt: skip
    return [_pack(main, staged, architecture, out), _pack(desktop, staged, "noarch", out)]


def spec(
    name: str,
    staged: Staged,
    root: Path,
    summary: str,
    description: tuple[str, ...],
    scripts: str,
    *fields: str,
) -> str:
    """Return the text of one spec file."""
    files = [
        path.relative_to(root)
        for path in sorted(root.rglob("*"))
        if (path.is_symlink() or not path.is_dir()) and "DEBIAN" not in path.parts
    ]
    own = [path for path in files if not path.as_posix().startswith(OWNED)]
    folders = [folder for folder in OWNED if (root / folder).is_dir()]
    return SPEC.format(
        name=name,
        version=staged.version,
        url=dev_project.homepage(),
        summary=f"{summary[0].upper()}{summary[1:]}",
        fields="\n".join(fields),
        description="\n".join(description),
        root=root,
        files="\n".join(f'"/{path}"' for path in [*folders, *own]),
        scripts=scripts,
    )


def _pack(text: str, staged: Staged, architecture: str, out: Path) -> Path:
    work = staged.main.parent
    file = work / "package.spec"
    file.write_text(text, encoding="utf-8")
    top = work / "rpm"
    words = ["--define", f"_topdir {top}", "--define", f"_rpmdir {top}/out"]
    words += ["--define", "use_source_date_epoch_as_buildtime 1"]
    words += ["--define", "clamp_mtime_to_source_date_epoch 1", "--define", "_buildhost localhost"]
    dev_linux.pack(
        ["rpmbuild", "-bb", "--quiet", "--target", f"{architecture}-linux", *words, str(file)], work
    )
    made = next((top / "out" / architecture).glob("*.rpm"))
    out.mkdir(exist_ok=True)
    return made.replace(out / made.name)
