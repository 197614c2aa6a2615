from pathlib import Path

from meshlight.local_models.runners.base import FoundRunner
from meshlight.local_models.runners.python_package import find_package, installed_version


def find(version: str | None, folders: tuple[str, ...] = ()) -> FoundRunner | None:
    return find_package(
        "mlx-lm",
        ("mlx_lm.server",),
        ("mlx_lm", "server"),
        python="/py",
        environ={"PATH": ""},
        folders=folders,
        version_of=lambda _: version,
    )


def test_our_python_comes_before_another_one(tmp_path: Path) -> None:
    (tmp_path / "mlx_lm.server").write_text("#!/bin/sh\n")
    (tmp_path / "mlx_lm.server").chmod(0o755)
    here, elsewhere = find("0.32", (str(tmp_path),)), find(None, (str(tmp_path),))
    assert here == FoundRunner(program=("/py", "-P", "-m", "mlx_lm", "server"), version="0.32")
    assert elsewhere == FoundRunner(program=(str(tmp_path / "mlx_lm.server"),))
    assert find(None) is None


def test_the_version_of_what_is_installed() -> None:
    assert installed_version("pytest")
    assert installed_version("no-such-package-anywhere") is None
