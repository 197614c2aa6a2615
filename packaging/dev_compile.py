"""The compiled wheel: the modules that pyproject.toml names, made extension modules by mypyc beside their sources.

hatch-mypyc moves pyproject.toml away while it builds and writes into the folders of the sources, so all of it is done
in a copy: the checkout never holds an extension module.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import dev_system
import dev_uv
import dev_venv
from dev_venv import CONSTRAINTS, ROOT, VENV, Failure, tail

COMPILED = ROOT / "build" / "compiled"
SOURCES = ("agent", "icons", "web", "LICENSE", "README.md", "pyproject.toml")
"""What a wheel is made from."""
_making = threading.Lock()
MADE = frozenset({".pyc", ".pyd", ".so"})
HOOK = {"HATCH_BUILD_HOOK_ENABLE_MYPYC": "true"}
CFLAGS = "-DNDEBUG -fwrapv -fvisibility=hidden -fno-asynchronous-unwind-tables -freorder-blocks-and-partition"
"""Functions that only their own library calls: some percent faster, a sixth smaller. As in [tool.cibuildwheel].

They replace those that Python was compiled with, and so repeat two of them: no asserts, and overflow that wraps.
"""
COLD = ROOT / "packaging" / "cold.h"
PARTIAL = "partial-"
LONGEST_S = 3_600.0
"""What is older and not finished was left by a run that was killed."""
CHECK = ROOT / "packaging" / "check_compiled.py"
ASKED = """\
import json, os, sys, sysconfig
say = sysconfig.get_config_var
print(json.dumps({
    "implementation": sys.implementation.name,
    "version": "%d.%d" % sys.version_info[:2],
    "suffix": say("EXT_SUFFIX"),
    "include": sysconfig.get_path("include"),
    "compiler": (os.environ.get("CC") or say("CC") or "").partition(" ")[0],
}))
"""


@dataclass(frozen=True)
class Interpreter:
    """What a Python says of how its extension modules are made."""

    path: Path
    implementation: str
    version: str
    suffix: str
    """The end of the names of its extension modules: `.cpython-311-x86_64-linux-gnu.so`."""
    include: Path
    """The folder that has its Python.h."""
    compiler: str
    """The program that it compiles C with; empty on Windows, where setuptools looks for Microsoft's."""


def modules() -> list[str]:
    """Return the names of the modules that are compiled, as pyproject.toml lists their files."""
    return [
        ".".join(PurePosixPath(file).relative_to("/agent").with_suffix("").parts)
        for file in _hook()["include"]
    ]


def hidden_imports() -> list[str]:
    """Return what the compiled modules import, which nobody sees who only reads Python."""
    names = {f"{_hook()['options']['group_name']}__mypyc"}
    for module in modules():
        source = (ROOT / "agent" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module)
    return sorted(names)


def show() -> int:
    """Make the tree for the Python of .venv and say where it lies; 0 when done. Raises Failure."""
    dev_venv.ensure(dev_tools=True)
    folder = tree()
    print(
        f"{folder.relative_to(ROOT)}: {len(modules())} modules are compiled. Put it first in PYTHONPATH to use it."
    )
    return 0


def wheels(folder: Path) -> dict[str, Path]:
    """Build the compiled wheel for each Python of the packages that is on this machine; returns them by version.

    Prints for which Pythons there is none, and why. Raises Failure.
    """
    own = of_venv()
    found = {
        version: own.path if version == own.version else dev_uv.find(version) for version in dev_uv.PYTHONS
    }
    pythons = {version: ask(path) for version, path in found.items() if path is not None}
    dev_system.provide([program for python in pythons.values() for program in needs(python)])
    faults = {version: f"there is no Python {version} here" for version in found.keys() - pythons.keys()}
    faults |= {version: reason for version, python in pythons.items() if (reason := fault(python))}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        building = {
            version: pool.submit(own_wheel) if python is own else pool.submit(wheel, python, folder)
            for version, python in pythons.items()
            if version not in faults
        }
        made = {version: one.result() for version, one in building.items()}
    print(f"Compiled for Python {', '.join(made) or '(none)'}.")
    for version in sorted(faults):
        print(f"Python {version} runs the modules as they are written: {faults[version]}.")
    return made


def of_venv() -> Interpreter:
    """Return the Python of .venv. Raises Failure."""
    return ask(dev_venv.python_of(VENV))


def tree() -> Path:
    """Return the folder with the compiled wheel of .venv's Python, and what is in that wheel unpacked beside it.

    It is made if it isn't there, and those of other sources are removed. Raises Failure.
    """
    with _making:  # gates run beside each other
        python = of_venv()
        folder = COMPILED / _digest(python)
        if not folder.is_dir():
            _make(python, folder)
        return folder


def own_wheel() -> Path:
    """Return the compiled wheel of .venv's Python, made if it isn't there. Raises Failure."""
    return next(tree().glob("*.whl"))


def wheel(python: Interpreter, folder: Path) -> Path:
    """Build the compiled wheel for a Python into a folder and return it. Raises Failure."""
    flags = {"CFLAGS": f"{CFLAGS} -include {shlex.quote(str(COLD))}"} if os.name != "nt" else {}
    variables = (dev_venv.uv_variables() or {}) | HOOK | flags
    if sys.platform == "linux":
        # A Python may have been linked with folders of its own machine, in which libraries would be sought.
        variables["LDSHARED"] = f"{python.compiler} -shared"
    with tempfile.TemporaryDirectory(prefix="meshlight-compile-") as temporary:
        copy = Path(temporary) / "meshlight"
        _copy(copy)
        done = subprocess.run(
            [
                str(dev_venv.uv()), "build", "--wheel", "--no-config", "--no-progress", "--no-create-gitignore",
                "--python", str(python.path), "--build-constraints", str(CONSTRAINTS), "--out-dir", str(folder),
                str(copy),
            ],
            capture_output=True, text=True, errors="replace", check=False, cwd=copy,
            env=dev_venv.environment(VENV, variables),
        )  # fmt: skip
    made = [file for file in folder.glob("*.whl") if f"-cp{python.version.replace('.', '')}-" in file.name]
    if done.returncode != 0 or len(made) != 1:
        raise Failure(
            f"mypyc could not compile for Python {python.version}:\n{tail(done.stdout + done.stderr)}"
        )
    return made[0]


@lru_cache
def ask(path: Path) -> Interpreter:
    """Return what a Python says of itself. Raises Failure."""
    done = subprocess.run([str(path), "-c", ASKED], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failure(f"{path} does not run:\n{tail(done.stderr)}")
    said = json.loads(done.stdout)
    return Interpreter(path=path, **(said | {"include": Path(said["include"])}))


def check(path: Path, environ: Mapping[str, str]) -> None:
    """Import every compiled module with a Python. Raises Failure where it takes another file."""
    done = subprocess.run(
        [str(path), "-P", str(CHECK)], capture_output=True, text=True, check=False, env=dict(environ)
    )
    if done.returncode != 0 or int(done.stdout.split()[0]) != len(modules()):
        raise Failure(
            f"the {len(modules())} compiled modules are not used:\n{tail(done.stdout + done.stderr)}"
        )


def needs(python: Interpreter) -> list[dev_system.Program]:
    """Return what it takes to compile for a Python."""
    if os.name == "nt":
        return [dev_system.MICROSOFT]
    return [dev_system.compiler(python.compiler), dev_system.headers(python.include, python.version)]


def _make(python: Interpreter, folder: Path) -> None:
    _provide(python)
    print(f"Compiling {len(modules())} modules for Python {python.version} (a minute or two) …")
    started = time.monotonic()
    COMPILED.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=COMPILED))
    try:
        with zipfile.ZipFile(wheel(python, partial)) as archive:
            archive.extractall(partial)
        check(python.path, dev_venv.environment(VENV, {"PYTHONPATH": str(partial)}))
        put(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    print(f"Compiled in {time.monotonic() - started:.0f} s.")


def put(partial: Path, folder: Path) -> None:
    """Make a finished folder the only one beside it, but for those that are being made now.

    One that another run has finished meanwhile stays: it is the same, and may be in use.
    """
    for other in folder.parent.iterdir():
        age_s = time.time() - other.stat().st_mtime
        if other not in {partial, folder} and (not other.name.startswith(PARTIAL) or age_s > LONGEST_S):
            shutil.rmtree(other, ignore_errors=True)
    if not folder.is_dir():
        partial.replace(folder)


def fault(python: Interpreter) -> str | None:
    """Return why nothing can be compiled for a Python here; None when it can."""
    if python.implementation != "cpython":
        return f"mypyc compiles for CPython only, and this is {python.implementation}"
    missing = [program.names[0] for program in needs(python) if not program.is_here]
    return f"{' and '.join(missing)} is missing for Python {python.version}" if missing else None


def _provide(python: Interpreter) -> None:
    missing = dev_system.provide(needs(python))
    if missing or fault(python):
        raise Failure("\n".join(missing) or f"{fault(python)}.")


def _hook() -> dict[str, Any]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        target = tomllib.load(file)["tool"]["hatch"]["build"]["targets"]["wheel"]
    hook: dict[str, Any] = target["hooks"]["mypyc"]
    return hook


def _sources() -> Iterator[Path]:
    """Yield the files that a wheel is made from, in a fixed order."""
    for name in SOURCES:
        files = sorted((ROOT / name).rglob("*")) if (ROOT / name).is_dir() else [ROOT / name]
        yield from (file for file in files if file.is_file() and file.suffix not in MADE)


def _copy(target: Path) -> None:
    """Copy what a wheel is made from into a folder."""
    for file in _sources():
        copy = target / file.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)


def _digest(python: Interpreter) -> str:
    """Return a fingerprint of all that decides what the compiled wheel is."""
    parts = hashlib.sha256(repr(python).encode())
    for file in (CONSTRAINTS, COLD, Path(__file__), *_sources()):
        content = file.read_bytes()
        parts.update(f"{file.relative_to(ROOT).as_posix()} {len(content)}\n".encode() + content)
    return parts.hexdigest()[:16]
