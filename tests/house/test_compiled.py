"""The compiled modules: what mypyc changes without a word is not in them (see docs/decisions.md)."""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

import dev_compile
import dev_venv
from dev_venv import ROOT, Failure

MODULES = dev_compile.modules()
KEPT = """
odd = 1
class A(B[int]):
    __slots__ = ("x",)
    x: int
    a: ClassVar[int] = 1
    b: Final = 2
class C(Enum):
    d = 1
"""
MARKED = ("ClassVar", "Final")


def test_each_compiled_module_is_one_file_of_ours() -> None:
    files = [ROOT / "agent" / f"{module.replace('.', '/')}.py" for module in MODULES]
    assert [str(file) for file in files if not file.is_file()] == []
    assert sorted(set(MODULES)) == MODULES, "one line for each, in order"


@pytest.mark.parametrize("module", MODULES)
def test_a_compiled_module_means_what_it_says(module: str) -> None:
    source = (ROOT / "agent" / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8")
    assert list(faults(source)) == []
    structs = [
        name
        for name, kind in inspect.getmembers(importlib.import_module(module), inspect.isclass)
        if kind.__module__ == module and issubclass(kind, msgspec.Struct)
    ]
    assert structs == [], "compiled, `int | None` is `type` to msgspec: a Struct belongs in a module of types"


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("class A(B, frozen=True): pass", "A: frozen= is dropped"),
        ("class A:\n  __slots__ = ('x', '__weakref__')", "A: __weakref__ has no effect"),
        ("class A:\n  odd = 1", "A.odd is no ClassVar"),
        ("class A:\n  odd: int = 1", "A.odd is no ClassVar"),
        ("@runtime_checkable\nclass A(Protocol): pass", "A: @runtime_checkable finds no protocol"),
    ],
)
def test_what_would_change_is_found(source: str, fault: str) -> None:
    assert list(faults(source)) == [fault]


def test_what_is_kept_is_no_fault() -> None:
    assert list(faults(KEPT)) == []


def test_a_python_that_takes_the_sources_is_told() -> None:
    with pytest.raises(Failure, match="compiled modules are not used"):
        dev_compile.check(Path(sys.executable), dev_venv.environment(dev_venv.VENV))


def test_where_nothing_can_be_compiled_the_reason_is_told() -> None:
    python = replace(dev_compile.ask(Path(sys.executable)), version="3.99", include=Path("nowhere"))
    assert "Python.h is missing for Python 3.99" in (dev_compile.fault(python) or "")
    other = replace(python, implementation="pypy")
    assert "for CPython only, and this is pypy" in (dev_compile.fault(other) or "")


def test_pypi_s_wheels_are_compiled_as_ours() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        theirs = tomllib.load(file)["tool"]["cibuildwheel"]["environment"]
    assert dev_compile.HOOK.items() <= theirs.items()
    assert theirs["CFLAGS"] == dev_compile.CFLAGS
    assert (ROOT / theirs["PIP_CONSTRAINT"]) == dev_venv.CONSTRAINTS


@pytest.mark.skipif(os.name == "nt", reason="Microsoft's compiler takes none of it")
def test_what_is_compiled_has_no_asserts_of_c_and_python_s_rule_for_overflow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CFLAGS", dev_compile.CFLAGS)
    compiler = importlib.import_module("setuptools._distutils.ccompiler").new_compiler()
    importlib.import_module("setuptools._distutils.sysconfig").customize_compiler(compiler)
    assert {"-DNDEBUG", "-fwrapv"} <= {*compiler.compiler_so}


def test_a_compiled_tree_takes_the_place_of_older_ones_and_of_what_was_left(tmp_path: Path) -> None:
    for name in ("older", "partial-left", "partial-running", "partial-mine", "partial-second"):
        (tmp_path / name).mkdir()
    os.utime(tmp_path / "partial-left", (0, 0))
    dev_compile.put(tmp_path / "partial-mine", tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == {"new", "partial-running", "partial-second"}
    (tmp_path / "new" / "in-use").touch()
    dev_compile.put(tmp_path / "partial-second", tmp_path / "new")
    assert (tmp_path / "new" / "in-use").exists(), "what another run has finished meanwhile stays"


def test_what_compiled_modules_import_is_known_to_those_who_cannot_read_it() -> None:
    assert {"meshlight__mypyc", "asyncio"} <= {*dev_compile.hidden_imports()}


def faults(source: str) -> Iterator[str]:
    """Yield what mypyc compiles to something else than Python does, without an error of its own."""
    for kind in ast.walk(ast.parse(source)):
        if not isinstance(kind, ast.ClassDef):
            continue
        yield from (f"{kind.name}: {keyword.arg}= is dropped" for keyword in kind.keywords)
        if "runtime_checkable" in map(ast.unparse, kind.decorator_list):
            yield f"{kind.name}: @runtime_checkable finds no protocol"
        if not any(ast.unparse(base).endswith(("Enum", "Flag")) for base in kind.bases):
            for part in kind.body:
                yield from _attribute_faults(kind.name, part)


def _attribute_faults(kind: str, part: ast.stmt) -> Iterator[str]:
    """Yield what is wrong with a class variable: unmarked, it is one of each object, and the class has none."""
    if isinstance(part, ast.Assign):
        for name in map(ast.unparse, part.targets):
            if name != "__slots__":
                yield f"{kind}.{name} is no ClassVar"
            elif "__weakref__" in ast.unparse(part.value):
                yield f"{kind}: __weakref__ has no effect"
    elif (
        isinstance(part, ast.AnnAssign)
        and part.value is not None
        and not ast.unparse(part.annotation).startswith(MARKED)
    ):
        yield f"{kind}.{ast.unparse(part.target)} is no ClassVar"
