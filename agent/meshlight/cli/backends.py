"""The words that change which backends there are."""

import sys

import click

from meshlight.cli.backend_form import add, kinds, models_of, print_added, set_
from meshlight.cli.output.console import BAD, GOOD, WARN, TerminalStyle, new_console
from meshlight.cli.output.reports import backend_listing, backend_report
from meshlight.cli.output.status import note
from meshlight.cli.service_client import connect_service, pick_backend, print_json
from meshlight.domain.text import milliseconds


@click.group(
    epilog="""\b
Examples:
  meshlight backends kinds
  meshlight backends add ollama http://gpu.lan:11434
  meshlight backends set "Big box" --priority 1
  meshlight backends check

NAME is a backend's name or id, as `meshlight backends list` shows them."""
)
def backends() -> None:
    """List, add, change, remove, check and switch backends."""


for word in (add, set_, kinds):
    backends.add_command(word)


@backends.command(
    name="list",
    epilog="""\b
Examples:
  meshlight backends list
  meshlight backends list --json | jq -r '.[].url'""",
)
@click.option("--json", "as_json", is_flag=True, help="Print the backends as JSON.")
def list_(*, as_json: bool) -> None:
    """Every backend with its id and address."""
    with connect_service() as mesh:
        found = mesh.backends()
    if as_json:
        print_json(found)
    elif found:
        console = new_console()
        console.print(*backend_listing(found, TerminalStyle.of(console)), sep="\n")
    else:
        click.echo("No backend yet. Add one with: meshlight backends add KIND URL")


@backends.command(epilog="""\b\nExample:\n  meshlight backends show ollama""")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the backend as JSON.")
def show(name: str, *, as_json: bool) -> None:
    """One backend in full: state, reason, fix, counts, models."""
    with connect_service() as mesh:
        backend = pick_backend(mesh.backends(), name)
    if as_json:
        print_json(backend)
    else:
        console = new_console()
        console.print(backend_report(backend, TerminalStyle.of(console)))


@backends.command(
    epilog="""\b
Examples:
  meshlight backends remove "Big box"
  meshlight backends remove --yes old-box older-box"""
)
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Don't ask.")
def remove(names: tuple[str, ...], *, yes: bool) -> None:
    """Remove backends, and their keys from the keyring.

    An engine that Meshlight found by itself is not looked at again, until you add it by its address.
    """
    with connect_service() as mesh:
        found = mesh.backends()
        chosen = [pick_backend(found, name) for name in names]
        for backend in chosen:
            if not yes and sys.stdin.isatty():
                click.confirm(f"Remove {backend.name} ({backend.url})?", abort=True)
            mesh.remove(backend.id)
            click.echo(f"Removed {backend.name}.")


@backends.command(
    epilog="""\b
Examples:
  meshlight backends check ollama
  meshlight backends check

Exit code: 0 if all answered as they should, 1 if one did not."""
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.pass_context
def check(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Probe backends now, all that are on or those named."""
    console = new_console()
    paper = TerminalStyle.of(console)
    all_well = True
    with connect_service() as mesh:
        found = mesh.backends()
        chosen = [pick_backend(found, name) for name in names] or [b for b in found if b.enabled]
        for backend in chosen:
            result = mesh.check(backend.id)
            all_well &= result.ok
            if result.ok:
                said = (
                    f"{backend.name} answers ({milliseconds(result.latency_ms)}, {models_of(result.models)})."
                )
                console.print(*note(GOOD, said, "", paper), sep="\n")
                if result.note:
                    console.print(*note(WARN, f"{backend.name}: {result.note}", "", paper), sep="\n")
            else:
                said = f"{backend.name}: {result.text or result.health.text}"
                console.print(*note(BAD, said, result.fix or result.health.fix, paper), sep="\n")
    ctx.exit(0 if all_well else 1)


@backends.command(epilog="""\b\nExample:\n  meshlight backends enable ollama""")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def enable(names: tuple[str, ...]) -> None:
    """Switch backends on."""
    _switch(names, on=True)


@backends.command(epilog="""\b\nExample:\n  meshlight backends disable ollama""")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
def disable(names: tuple[str, ...]) -> None:
    """Switch backends off: nothing is sent to them, and they count for nothing."""
    _switch(names, on=False)


def _switch(names: tuple[str, ...], *, on: bool) -> None:
    console = new_console()
    with connect_service() as mesh:
        found = mesh.backends()
        for backend in [pick_backend(found, name) for name in names]:
            print_added(console, mesh.switch(backend.id, on=on), "Switched on" if on else "Switched off")
