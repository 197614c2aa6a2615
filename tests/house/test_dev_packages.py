"""What dev.py makes packages of, as far as that needs no network and no packer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import click
import pytest

import dev_deb
import dev_linux
import dev_package
import dev_rpm
import dev_tree
import dev_uv
from dev_assets import man_page
from dev_linux import Staged
from dev_package import Request
from dev_venv import Failure
from meshlight.cli.app import COMMANDS, commands


def _write(folder: Path, **files: str) -> Path:
    for name, content in files.items():
        file = folder / name.replace("__", "/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder


def test_the_modules_of_all_pythons_lie_side_by_side(tmp_path: Path) -> None:
    site = tmp_path / "site"
    for python in ("311", "312"):
        part = tmp_path / python
        _write(part, a__both="same", **{f"a__x{python}": python, "a-1.dist-info__RECORD": python})
        dev_tree.merge(part, site)
    assert sorted(file.name for file in (site / "a").iterdir()) == ["both", "x311", "x312"]


def test_a_file_that_differs_between_pythons_can_t_be_shared_and_is_named(tmp_path: Path) -> None:
    dev_tree.merge(_write(tmp_path / "311", a__both="one"), tmp_path / "site")
    with pytest.raises(Failure, match="a/both is not the same file for every Python"):
        dev_tree.merge(_write(tmp_path / "312", a__both="two"), tmp_path / "site")


def test_only_libraries_that_something_links_to_are_kept(tmp_path: Path) -> None:
    package = _write(tmp_path / "PIL", **{"_imaging.so": "… libjpeg-1.so …"})
    libraries = _write(
        tmp_path / "pillow.libs",
        **{
            "libjpeg-1.so": "… libz-1.so …",
            "libz-1.so": "",
            "libfont-1.so": "… libshape-1.so …",
            "libshape-1.so": "… libfont-1.so …",
        },
    )
    assert {file.name for file in dev_tree.unlinked(libraries, package)} == {"libfont-1.so", "libshape-1.so"}


@pytest.mark.parametrize(
    ("headers", "fault"),
    [
        (
            "  NEEDED   libc.so.6\n    0x0d696914 0x00 03 GLIBC_2.14\n    0x09691a75 0x00 02 GLIBC_2.2.5\n",
            None,
        ),
        ("    0x0d696914 0x00 03 GLIBC_2.34\n    0x0d696914 0x00 03 GLIBC_2.4\n", "needs glibc 2.34"),
        ("  RUNPATH              /somewhere/lib\n", "looks for libraries in /somewhere/lib"),
    ],
)
def test_a_module_that_would_not_load_everywhere_is_told(headers: str, fault: str | None) -> None:
    assert (dev_tree.link_fault(headers) or "").startswith(fault or "")
    assert (dev_tree.link_fault(headers) is None) == (fault is None)


def test_what_no_installation_uses_is_left_out(tmp_path: Path) -> None:
    _write(
        tmp_path,
        **{
            "bin__x": "", "faker__x.py": "", "faker-1.dist-info__METADATA": "", "PIL___webp.cpython-311.so": "",
            "PIL__Image.py": "", "a__x.pyx": "", "a__x.py": "", "a__x.so": "", ".lock": "",
            "a-1.dist-info__direct_url.json": "", "zstandard___cffi.cpython-311.so": "",
            "dbus_fast__a.py": "", "dbus_fast__a.so": "", "dbus_fast__b__c.so": "",
        },
    )  # fmt: skip
    dev_tree.slim(tmp_path)
    left = sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file())
    assert left == ["PIL/Image.py", "a/x.py", "a/x.so", "dbus_fast/a.py"]


def test_the_licence_of_each_package_inside_is_told(tmp_path: Path) -> None:
    site = tmp_path / dev_tree.PREFIX / "lib"
    for name, field in (
        ("a", "License-Expression: MIT"),
        ("b", "Classifier: License :: OSI Approved :: BSD License"),
        ("c", "Summary: x"),
    ):
        _write(site, **{f"{name}-1.dist-info__METADATA": f"Name: {name}\nVersion: 1\n{field}\n\nLicense: no"})
    lines = dev_tree.licences(tmp_path / dev_tree.PREFIX)
    assert lines == ["a 1: MIT", "b 1: BSD License", "c 1: see its own files"]
    assert "  a 1: MIT\n" in dev_linux.copyright_text(lines)


def test_the_manual_has_every_command_and_its_options() -> None:
    page = man_page(commands)
    for name in COMMANDS:
        assert rf".SS meshlight {name}" in page
    assert r"\-\-no\-discovery" in page
    assert "\b" not in page


def test_what_a_help_text_says_is_no_command_of_troff() -> None:
    group = click.Group("x", help=".so /etc/passwd \\fB-x")
    assert ".PP\n\\&.so /etc/passwd \\efB\\-x\n" in man_page(group)


def test_the_fields_of_a_debian_package() -> None:
    text = dev_deb.control("m", "1-1", "amd64", "short", ("one", "two"), 7, ("Depends", dev_deb.PYTHON))
    assert "Depends: python3 (>= 3.11~), python3 (<< 3.15~)" in text
    assert text.endswith("Description: short\n one\n two\n")
    assert dev_deb.changelog("1-1").startswith("meshlight (1-1) stable; urgency=medium\n\n  * ")


def test_an_rpm_owns_its_own_folder_and_no_other(tmp_path: Path) -> None:
    root = _write(tmp_path / "main", opt__meshlight__x="", usr__bin__y="", DEBIAN__control="")
    staged = Staged(root, root, "1.0", "amd64")
    text = dev_rpm.spec("m", staged, root, "short", ("one",), "", "Requires: python3")
    assert text.partition("%files\n")[2].split() == ['"/opt/meshlight"', '"/usr/bin/y"']


@pytest.mark.parametrize("part", sorted(file.stem for file in dev_linux.SCRIPTS.glob("*.sh")))
def test_the_scripts_are_posix_shell(part: str) -> None:
    done = subprocess.run(
        ["sh", "-n"], input=dev_linux.script(part), text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_maintainer_scripts_are_whole() -> None:
    for text in (dev_deb.scripts()["postinst"], dev_deb.scripts()["prerm"]):
        done = subprocess.run(["sh", "-n"], input=text, text=True, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")


def test_a_package_that_does_not_exist_is_told_with_those_there_are() -> None:
    with pytest.raises(
        Failure, match=r"there is no package msi\. There are: deb, rpm, wheel, windows, macos"
    ):
        dev_package.run("msi", Request())
    with pytest.raises(Failure, match="unknown argument: now"):
        dev_package.run("deb", Request(words=["now"]))


def test_a_wheel_that_is_lost_is_told_with_its_python_and_platform(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(words: object, target: object, python: str, platform: str) -> str | None:
        del words, target
        return "  no wheel of cryptography" if (python, "darwin" in platform) == ("3.14", True) else None

    monkeypatch.setattr(dev_uv, "_run", run)
    monkeypatch.setattr(dev_uv, "uv", lambda: Path("uv"))
    assert dev_uv.unresolved() == "Python 3.14 on aarch64-apple-darwin:\n  no wheel of cryptography"
