from pathlib import Path

import pytest

from meshlight.local_models.runners.xllamacpp_wheels import (
    FOLDER,
    VERSION,
    WHEELS,
    locate_unpacked,
    wheel_here,
)

CONSTRAINTS = Path(__file__).parents[3] / "packaging" / "constraints.txt"


@pytest.mark.parametrize(
    ("system", "machine", "version", "known"),
    [
        ("linux", "x86_64", (2, 39), ("linux", "x86_64")),
        ("linux", "aarch64", (2, 17), ("linux", "aarch64")),
        ("darwin", "arm64", (14, 1), ("darwin", "arm64")),
        ("win32", "AMD64", (), ("win32", "amd64")),
        ("linux", "x86_64", (2, 12), None),
        ("linux", "x86_64", (), None),  # musl
        ("darwin", "arm64", (12, 7), None),
        ("linux", "riscv64", (2, 39), None),
        ("win32", "ARM64", (), None),
    ],
)
def test_the_wheel_fits_the_system(
    system: str, machine: str, version: tuple[int, ...], known: tuple[str, str] | None
) -> None:
    found = wheel_here(system, machine, is_cpython=True, system_version=lambda: version)
    assert found == (WHEELS[known] if known else None)


def test_another_python_has_none() -> None:
    assert wheel_here("linux", "x86_64", is_cpython=False, system_version=lambda: (2, 39)) is None


def test_the_version_is_the_one_that_is_tested() -> None:
    assert f"xllamacpp=={VERSION}\n" in CONSTRAINTS.read_text()


def test_only_the_known_version_is_found_unpacked(tmp_path: Path) -> None:
    for name in ("xllamacpp-1-abi3", ".unpacking-x"):
        (tmp_path / name / "xllamacpp").mkdir(parents=True)
        (tmp_path / name / "xllamacpp" / "__init__.py").touch()
    assert locate_unpacked(tmp_path) is None
    (tmp_path / "xllamacpp-1-abi3").rename(tmp_path / FOLDER)
    assert locate_unpacked(tmp_path) == (str(tmp_path / FOLDER), VERSION)


def test_a_folder_that_can_not_be_read_holds_none(tmp_path: Path) -> None:
    # Any error of the system does: rights would not keep the administrator out, a name that is too long does.
    assert locate_unpacked(tmp_path / ("x" * 300)) is None
