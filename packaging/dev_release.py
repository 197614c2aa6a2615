"""What a release has beside its packages: notes, checksums, list of components, manifests for package managers."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import dev_project
import dev_venv
import dev_wheel
from dev_venv import CONSTRAINTS, ROOT, Failure, cache, tail

CYCLONEDX = "cyclonedx-bom==7.5.0"
CHANGELOG = ROOT / "CHANGELOG.md"
MANIFESTS = ROOT / "packaging" / "manifests"
BUILD = ROOT / "build"
UNRELEASED = "Unreleased"
SUMS = "SHA256SUMS"
SUMMARY = "Every language model you can reach, behind one local address"


def release(folder: Path, tag: str) -> list[Path]:
    """Make all that a release of the packages in `folder` needs; returns what was made. Raises Failure."""
    version = dev_project.version()
    if tag != f"v{version}":
        raise Failure(f"the tag is {tag}, and pyproject.toml has version {version}.")
    text = notes(CHANGELOG.read_text(encoding="utf-8"), version)
    files = packages(folder)
    BUILD.mkdir(exist_ok=True)
    (BUILD / "notes.md").write_text(text, encoding="utf-8")
    archive = folder / f"meshlight-{version}-manifests.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in manifests(files).items():
            file.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content)
    made = [archive, sbom(folder)]
    return [BUILD / "notes.md", *made, checksums(folder)]


def notes(changelog: str, version: str) -> str:
    """Return the part of the changelog about a version, or about what is not released yet. Raises Failure."""
    parts = re.split(r"^## +(.+)$", changelog, flags=re.MULTILINE)
    by_title = {
        title.split()[0].strip("[]"): text.strip()
        for title, text in zip(parts[1::2], parts[2::2], strict=True)
    }
    if not by_title.get(version):
        raise Failure(
            f"{CHANGELOG.name} says nothing of {version}: rename `## {UNRELEASED}` when it is released. "
            f"It has: {', '.join(by_title)}."
        )
    return f"{by_title[version]}\n"


def packages(folder: Path) -> list[Path]:
    """Return the packages in a folder. Raises Failure if there are none."""
    made = {SUMS}
    files = sorted(
        file
        for file in folder.glob("*")
        if file.is_file()
        and file.name not in made
        and file.suffix in {".deb", ".rpm", ".whl", ".exe", ".dmg"}
    )
    if not files:
        raise Failure(f"there are no packages in {folder}.")
    return files


def checksums(folder: Path) -> Path:
    """Write the SHA-256 of every file of a folder into one that `sha256sum --check` reads."""
    sums = folder / SUMS
    files = sorted(file for file in folder.iterdir() if file.is_file() and file != sums)
    sums.write_text("".join(f"{digest(file)}  {file.name}\n" for file in files), encoding="utf-8")
    return sums


def digest(file: Path) -> str:
    """Return the SHA-256 of a file."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def sbom(folder: Path) -> Path:
    """Write the list of all components of an installation (CycloneDX, JSON). Raises Failure."""
    tool = cache() / CYCLONEDX.replace("==", "-")
    program = dev_venv.python_of(tool).parent / "cyclonedx-py"
    if not program.with_suffix(dev_venv.python_of(tool).suffix).is_file():
        print(f"Installing {CYCLONEDX} into the cache …")
        dev_venv.make(tool)
        dev_venv.install(tool, [CYCLONEDX])
    folder.mkdir(exist_ok=True)
    out = folder / f"meshlight-{dev_project.version()}.cdx.json"
    with tempfile.TemporaryDirectory(prefix="meshlight-sbom-") as temporary:
        work = Path(temporary)
        venv = work / "venv"
        dev_venv.make(venv)
        dev_venv.install(venv, [str(dev_wheel.make(work / "wheel"))], constraints=CONSTRAINTS)
        # What only installs is no component.
        _run(
            [str(dev_venv.python_of(venv)), "-m", "pip", "uninstall", "--quiet", "--yes", "pip", "setuptools"]
        )
        command = ["environment", str(dev_venv.python_of(venv)), "--pyproject", str(ROOT / "pyproject.toml")]
        _run([str(program), *command, "--of", "JSON", "--output-reproducible", "--output-file", str(out)])
    return out


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        raise Failure(f"{Path(command[0]).name} failed:\n{tail(done.stdout + done.stderr)}")


def manifests(files: Sequence[Path]) -> dict[str, str]:
    """Return the manifests for Homebrew, winget and the AUR, each as far as its package is among the files.

    Raises Failure for a file that is not there, and if there is a manifest for none of them.
    """
    lost = [str(file) for file in files if not file.is_file()]
    if lost:
        raise Failure(f"not here: {', '.join(lost)}")
    version = dev_project.version()
    values = {
        "version": version,
        "homepage": dev_project.homepage(),
        "releases": f"{dev_project.homepage()}/releases/download/v{version}",
        "summary": SUMMARY,
        "licence": dev_project.LICENCE,
        "owner": dev_project.homepage().split("/")[-2],
    }
    patterns = {
        "homebrew": {"dmg": f"meshlight-{version}-macos-arm64.dmg"},
        "winget": {"setup": f"meshlight-{version}-setup.exe"},
        "aur": {
            "deb": f"meshlight_{version}-1_amd64.deb",
            "desktop": f"meshlight-desktop_{version}-1_all.deb",
        },
    }
    by_name = {file.name: file for file in files}
    made = {}
    for target, wanted in patterns.items():
        if not set(wanted.values()) <= by_name.keys():
            continue
        found = {f"{key}_name": name for key, name in wanted.items()}
        found |= {f"{key}_sha256": digest(by_name[name]) for key, name in wanted.items()}
        for template in sorted((MANIFESTS / target).iterdir()):
            made[f"{target}/{template.name}"] = filled(template.read_text(encoding="utf-8"), values | found)
    if not made:
        raise Failure(
            "there is a manifest for none of these files. They are for: "
            + ", ".join(name for wanted in patterns.values() for name in wanted.values())
        )
    return made


def filled(template: str, values: dict[str, str]) -> str:
    """Return a template with `@name@` replaced by the values. Raises Failure for a name without a value."""

    def value(found: re.Match[str]) -> str:
        name = found[1]
        if name not in values:
            raise Failure(f"a template asks for {name}, which is not known.")
        return values[name]

    return re.sub(r"@([a-z0-9_]+)@", value, template)
