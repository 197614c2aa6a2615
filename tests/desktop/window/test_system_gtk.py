import subprocess
import sys
from pathlib import Path

import pytest

from meshlight.desktop.window.system_gtk import SystemModuleFinder


def test_only_gtks_own_modules_are_lent(tmp_path: Path) -> None:
    for name in ("gi", "httpx"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    lender = SystemModuleFinder(tmp_path)
    found = lender.find_spec("gi")
    assert found is not None
    assert found.origin == str(tmp_path / "gi" / "__init__.py")
    assert lender.find_spec("httpx") is None
    assert (
        lender.find_spec("gi.repository", [str(tmp_path / "gi")]) is None
    )  # the package finds its own parts


@pytest.mark.skipif(sys.platform != "linux", reason="only there the distribution has GTK for Python")
def test_modules_that_were_built_for_another_python_are_not_borrowed(tmp_path: Path) -> None:
    (tmp_path / "gi").mkdir()
    (tmp_path / "gi" / "_gi.cpython-30-x86_64-linux-gnu.so").touch()
    # In a Python of its own, since this one may have borrowed already.
    script = """
import sys, sysconfig
from pathlib import Path
from meshlight.desktop.window.system_gtk import use_system_gtk
folder, before = Path(sys.argv[1]), list(sys.meta_path)
assert not use_system_gtk([folder, folder / "nowhere"])
assert sys.meta_path == before
(folder / "gi" / f"_gi{sysconfig.get_config_var('EXT_SUFFIX')}").touch()
assert use_system_gtk([folder])
assert len(sys.meta_path) == len(before) + 1
"""
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
