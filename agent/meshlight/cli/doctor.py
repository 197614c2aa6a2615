"""The command `meshlight doctor`: runs all checks of `doctor_checks` and prints their findings."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from meshlight import __file__ as _package
from meshlight.cli import doctor_checks as checks
from meshlight.cli.doctor_checks import Finding, Level
from meshlight.cli.output.console import BAD, GOOD, WARN, StatusGlyph, TerminalStyle, new_console
from meshlight.cli.output.status import message_lines
from meshlight.cli.service_client import print_json
from meshlight.domain.text import count
from meshlight.storage.paths import Paths

_GLYPHS: dict[Level, StatusGlyph] = {"ok": GOOD, "look": WARN, "wrong": BAD}


@click.command(
    epilog="""\b
Examples:
  meshlight doctor
  meshlight doctor --json

Exit code: 0 if there are no problems (warnings are marked !), 1 if there are (marked ✗)."""
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool) -> None:
    """Find problems on this machine, and how to fix them.

    Checks Python, the configuration, the folder of keys, the service and its port, the keyring, proxies, the clock,
    limits, the engines of this machine and its own models, and what makes requests slow or fail. It changes nothing,
    and works without the service.
    """
    console = new_console()
    style = TerminalStyle.of(console)
    findings: list[Finding] = []
    for finding in _findings():
        findings.append(finding)
        if not as_json:
            console.print(
                *message_lines(_GLYPHS[finding.level], finding.message, finding.fix, style), sep="\n"
            )
    problems = sum(finding.level == "wrong" for finding in findings)
    warnings = sum(finding.level == "look" for finding in findings)
    if as_json:
        print_json(findings)
    elif problems or warnings:
        click.echo(f"\n{count(problems, 'problem')}, {count(warnings, 'warning')}.")
    else:
        click.echo("\nNo problems found.")
    ctx.exit(1 if problems else 0)


def _findings() -> Iterator[Finding]:
    """Run one check after the other."""
    paths = Paths.here()
    yield checks.check_python(sys.version_info[:3])
    finding, config = checks.check_config(paths)
    yield finding
    yield from checks.check_lane(config)
    yield from checks.check_folder(paths)
    yield from checks.check_keyring(paths, config)
    service = checks.check_service(paths, config.port)
    yield from service.findings
    yield checks.check_proxies(os.environ)
    yield checks.check_clock(time.time(), program_file().stat().st_mtime)
    yield checks.check_open_files(_open_files_limit())
    yield from service.hurts
    yield from (
        checks.check_usual_ports() if service.view is None else checks.check_known_engines(service.view)
    )
    if service.local is not None:
        yield from checks.check_local_models(service.local)


def program_file() -> Path:
    """Return a file that is as old as this installation; a frozen program has its modules in no files."""
    return Path(sys.executable if getattr(sys, "frozen", False) else _package)


def _open_files_limit() -> int | None:
    """Return the highest limit on open files that the service may set; None if there is none."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 -- Windows has none

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else hard
