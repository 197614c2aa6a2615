"""The wheels, pure and compiled: built, looked into, and one tried in an environment that has nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import dev_compile
import dev_venv
from dev_venv import CONSTRAINTS, ROOT, VENV, Failure, python, tail

# What travels beside the code: folder of the repository → folder in the package.
TRAVELLERS = {"web": "meshlight/_web", "icons": "meshlight/_icons"}


def build() -> int:
    """Make the wheel in dist/ and check it; 0 when it is good. Raises Failure."""
    dev_venv.ensure(dev_tools=True)
    print(check(ROOT / "dist"))
    return 0


def check(folder: Path | None = None) -> str:
    """Build the wheels (into `folder`, else a temporary one), check what is in them and that they run.

    The one that is tried is the compiled one of this Python; where nothing can be compiled, the pure one. Returns
    what was found, a line for each. Raises Failure naming what is wrong.
    """
    with tempfile.TemporaryDirectory(prefix="meshlight-wheel-") as temporary:
        work = Path(temporary)
        wheels = [make(work / "wheel")]
        reason = dev_compile.fault(dev_compile.of_venv())
        if reason is None:
            wheels.append(dev_compile.own_wheel())
        for wheel in wheels:
            _look_into(wheel)
        said = _try(wheels[-1], work / "venv", is_compiled=reason is None)
        if folder is not None:
            folder.mkdir(exist_ok=True)
            wheels = [Path(shutil.copy(wheel, folder)) for wheel in wheels]
        lines = [f"{wheel.name} ({wheel.stat().st_size / 1e6:.1f} MB)" for wheel in wheels]
        lines[-1] += f" works in a clean environment: {said}"
        return "\n".join([*lines, *([f"Nothing is compiled: {reason}."] if reason else [])])


def fault() -> str | None:
    """Build and check a wheel that is thrown away; returns what is wrong, None when it is good."""
    try:
        check()
    except Failure as failure:
        return str(failure)
    return None


def make(folder: Path) -> Path:
    """Build the wheel into a folder and return it. Raises Failure."""
    # Without isolation: the builder is among the pinned dev tools already.
    command = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    done = subprocess.run(
        python(*command),
        capture_output=True,
        text=True,
        check=False,
        env=dev_venv.environment(VENV),
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        raise Failure(f"the wheel was not built:\n{tail(done.stdout + done.stderr)}")
    return wheels[0]


def _look_into(wheel: Path) -> None:
    """Compare the wheel's list of files with the folders it must carry."""
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    for here, there in TRAVELLERS.items():
        files = [file for file in (ROOT / here).rglob("*") if file.is_file() and file.suffix != ".pyc"]
        if not files:
            raise Failure(f"{here}/ is empty, and the wheel must carry it as {there}/.")
        lost = [file for file in files if f"{there}/{file.relative_to(ROOT / here).as_posix()}" not in inside]
        if lost:
            raise Failure(f"{wheel.name} lacks {len(lost)} files of {here}/, the first is {lost[0].name}.")
    code = {
        file.relative_to(ROOT / "agent").as_posix() for file in (ROOT / "agent" / "meshlight").rglob("*.py")
    }
    if code - inside:
        raise Failure(f"{wheel.name} lacks {min(code - inside)}.")


def _try(wheel: Path, venv: Path, *, is_compiled: bool) -> str:
    """Install the wheel in a new environment and use it in an empty home; returns what its version is.

    It must work, put its entry and icons into the desktop's menu, and remove itself without a trace.
    """
    dev_venv.make(venv)
    dev_venv.install(venv, [str(wheel)], constraints=CONSTRAINTS)
    if is_compiled:
        dev_compile.check(dev_venv.python_of(venv), dev_venv.environment(venv))
    with tempfile.TemporaryDirectory(prefix="meshlight-home-") as folder:
        home = Path(folder)
        said = _run(venv, home, "version")
        _run(venv, home, "selftest")
        if sys.platform == "linux":
            _run(venv, home, "desktop", "--install")
            icons = list(home.glob(".local/share/icons/hicolor/*/apps/meshlight.*"))
            if not icons or not (home / ".local/share/applications/meshlight.desktop").is_file():
                raise Failure(
                    "`meshlight desktop --install` of the installed wheel made no entry or no icons."
                )
            _run(venv, home, "uninstall", "--all", "--yes")
        left = [str(path.relative_to(home)) for path in home.rglob("*")]
        if left:
            raise Failure(f"the installed wheel left something in an empty home: {', '.join(left[:5])}")
    return said


def _run(venv: Path, home: Path, *words: str) -> str:
    """Run the installed program as a person with this home does; returns what it said. Raises Failure."""
    variables = {
        name: value
        for name, value in dev_venv.environment(venv, {"HOME": str(home)}).items()
        if not name.startswith(("XDG_", "MESHLIGHT_"))
    }
    command = [str(dev_venv.python_of(venv).parent / "meshlight"), *words]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=home, timeout=120, env=variables
    )
    if done.returncode != 0:
        raise Failure(
            f"`meshlight {' '.join(words)}` of the installed wheel failed:\n{tail(done.stdout + done.stderr)}"
        )
    return done.stdout.strip()
