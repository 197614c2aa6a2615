"""The word that says what is wrong on this machine and how to mend it."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from meshlight import __file__ as _program
from meshlight.cli import doctor_checks as engines
from meshlight.cli import doctor_checks as machine
from meshlight.cli import doctor_checks as simulated
from meshlight.cli import doctor_checks as vault
from meshlight.cli.doctor_checks import Finding, Level
from meshlight.cli.output.console import BAD, GOOD, WARN, StatusGlyph, TerminalStyle, new_console
from meshlight.cli.output.status import note
from meshlight.cli.service_client import print_json
from meshlight.domain.text import count
from meshlight.storage.paths import Paths

_SIGNS: dict[Level, StatusGlyph] = {"ok": GOOD, "look": WARN, "wrong": BAD}


@click.command(
    epilog="""\b
Examples:
  meshlight doctor
  meshlight doctor --json

Exit code: 0 if nothing is wrong (what is worth a look is marked !), 1 if something is (marked ✗)."""
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@click.pass_context
def doctor(ctx: click.Context, *, as_json: bool) -> None:
    """What is wrong on this machine, and how to mend it.

    Looks at Python, the configuration, the folder of keys, the service and its port, the keyring, proxies, the
    clock, limits, and the engines of this machine. It changes nothing, and works without the service.
    """
    console = new_console()
    paper = TerminalStyle.of(console)
    found: list[Finding] = []
    for finding in _findings():
        found.append(finding)
        if not as_json:
            console.print(*note(_SIGNS[finding.level], finding.said, finding.fix, paper), sep="\n")
    wrong = sum(finding.level == "wrong" for finding in found)
    to_see = sum(finding.level == "look" for finding in found)
    if as_json:
        print_json(found)
    elif wrong or to_see:
        click.echo(f"\n{count(wrong, 'thing')} wrong, {to_see} worth a look.")
    else:
        click.echo("\nNothing is wrong.")
    ctx.exit(1 if wrong else 0)


def _findings() -> Iterator[Finding]:
    """Look at one thing after the other."""
    places = Paths.here()
    yield machine.check_python(sys.version_info[:3])
    said, config = simulated.check_config(places)
    yield said
    yield from simulated.check_folder(places)
    yield from vault.check_keyring(places, config.backends)
    service = simulated.check_service(places, config.port)
    yield from service.findings
    yield machine.check_proxies(os.environ)
    yield machine.check_clock(time.time(), Path(_program).stat().st_mtime)
    yield machine.check_open_files(_open_files_limit())
    yield from (
        engines.check_usual_ports() if service.view is None else engines.check_known_engines(service.view)
    )


def _open_files_limit() -> int | None:
    """Return up to how many files the service may raise its limit, None where there is none."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 -- Windows has none

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else hard
