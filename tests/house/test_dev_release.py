"""What a release has beside its packages."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

import dev_project
import dev_release
from dev_venv import Failure

VERSION = dev_project.version()
CHANGELOG = """\
# Changes

## Unreleased

- later

## 1.2.0 (2026-11-01)

### Added
- now

## 1.1.0
- before
"""


def test_the_notes_are_the_changelog_s_part_of_that_version() -> None:
    assert dev_release.notes(CHANGELOG, "1.2.0") == "### Added\n- now\n"
    assert dev_release.notes(CHANGELOG, "Unreleased") == "- later\n"


def test_a_version_without_notes_is_told_with_those_there_are() -> None:
    with pytest.raises(Failure, match=r"says nothing of 2\.0\.0.*Unreleased, 1\.2\.0, 1\.1\.0"):
        dev_release.notes(CHANGELOG, "2.0.0")


def test_the_checksums_are_those_that_sha256sum_reads(tmp_path: Path) -> None:
    (tmp_path / "a.deb").write_bytes(b"a")
    dev_release.checksums(tmp_path)
    sums = dev_release.checksums(tmp_path)  # its own file is not among them
    assert sums.read_text() == f"{hashlib.sha256(b'a').hexdigest()}  a.deb\n"


def test_a_tag_of_another_version_releases_nothing(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=rf"the tag is v9\.9\.9, and pyproject.toml has version {VERSION}"):
        dev_release.release(tmp_path, "v9.9.9")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    names = (
        f"meshlight-{VERSION}-macos-arm64.dmg", f"meshlight-{VERSION}-setup.exe",
        f"meshlight_{VERSION}-1_amd64.deb", f"meshlight-desktop_{VERSION}-1_all.deb",
    )  # fmt: skip
    for name in names:
        (tmp_path / name).write_text(name)
    return [tmp_path / name for name in names]


def test_each_manifest_has_the_version_the_address_and_the_checksum(files: list[Path]) -> None:
    made = dev_release.manifests(files)
    assert sorted({name.split("/")[0] for name in made}) == ["aur", "homebrew", "winget"]
    assert not [name for name, text in made.items() if "@" in text]
    cask = made["homebrew/meshlight.rb"]
    assert f'version "{VERSION}"' in cask
    assert dev_release.digest(files[0]) in cask
    assert "zap trash:" in cask
    installer = made["winget/Meshlight.Meshlight.installer.yaml"]
    assert f"{dev_project.homepage()}/releases/download/v{VERSION}/{files[1].name}\n" in installer
    assert f"InstallerSha256: {dev_release.digest(files[1])}\n" in installer
    assert f"\nPackageVersion: {VERSION}\n" in made["winget/Meshlight.Meshlight.locale.en-US.yaml"]
    recipe = made["aur/PKGBUILD"]
    assert all(dev_release.digest(file) in recipe for file in files[2:])
    done = subprocess.run(["bash", "-n"], input=recipe, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_manifest_is_made_only_for_a_package_that_is_here(files: list[Path]) -> None:
    assert {name.split("/")[0] for name in dev_release.manifests(files[:1])} == {"homebrew"}
    with pytest.raises(Failure, match="there is a manifest for none of these files"):
        dev_release.manifests(files[2:3])
    with pytest.raises(Failure, match=r"not here: .*x\.deb"):
        dev_release.manifests([Path("x.deb")])
