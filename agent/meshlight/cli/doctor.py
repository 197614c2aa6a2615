"""The word that says what is wrong on this machine and how to mend it."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click

from meshlight import __file__ as _program
from meshlight.desktop.paper import BAD, GOOD, WARN, Paper, Sign, new_console
from meshlight.desktop.screens import note
from meshlight.desktop.text import count
from meshlight.store.places import Places
from meshlight.words import engines, house, machine, vault
from meshlight.words.entry import print_json
from meshlight.words.finding import Finding, Level

_SIGNS: dict[Level, Sign] = {"ok": GOOD, "look": WARN, "wrong": BAD}


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
    paper = Paper.of(console)
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
    places = Places.here()
    yield machine.python(sys.version_info[:3])
    said, config = house.config(places)
    yield said
    yield from house.folder(places)
    yield from vault.keyring_state(places, config.backends)
    service = house.service(places, config.port)
    yield from service.findings
    yield machine.proxies(os.environ)
    yield machine.clock(time.time(), Path(_program).stat().st_mtime)
    yield machine.open_files(_open_files_limit())
    yield from engines.on_usual_ports() if service.view is None else engines.as_seen(service.view)


def _open_files_limit() -> int | None:
    """Return up to how many files the service may raise its limit, None where there is none."""
    if sys.platform == "win32":
        return None
    import resource  # noqa: PLC0415 -- Windows has none

    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return None if hard == resource.RLIM_INFINITY else hard
