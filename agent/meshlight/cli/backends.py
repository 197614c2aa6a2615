"""The commands below `meshlight backends`."""

import sys

import click

from meshlight.cli.backend_form import add, kinds, models_of, print_added, set_
from meshlight.cli.output.console import BAD, GOOD, WARN, TerminalStyle, new_console
from meshlight.cli.output.reports import backend_listing, backend_report
from meshlight.cli.output.status import message_lines
from meshlight.cli.service_client import pick_backend, print_json
from meshlight.cli.start import connect_or_start, start_option
from meshlight.domain.text import milliseconds


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  meshlight backends
  meshlight backends kinds
  meshlight backends add ollama http://gpu.lan:11434
  meshlight backends set "Big box" --priority 1
  meshlight backends check

NAME is a backend's name or id, as the list shows them.""",
)
@click.option("--json", "as_json", is_flag=True, help="Print the backends as JSON.")
@start_option
@click.pass_context
def backends(ctx: click.Context, *, as_json: bool) -> None:
    """List, add, change, remove and check backends.

    Without a command, they are listed. A backend is a server or account that answers: an engine of this machine, a
    server elsewhere, a cloud.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, as_json=as_json)


for command in (add, set_, kinds):
    backends.add_command(command)


@backends.command(
    name="list",
    epilog="""\b
Examples:
  meshlight backends list
  meshlight backends list --json | jq -r '.[].url'""",
)
@click.option("--json", "as_json", is_flag=True, help="Print the backends as JSON.")
@start_option
def list_(*, as_json: bool) -> None:
    """List every backend with its id and address."""
    with connect_or_start() as client:
        found = client.backends()
    if as_json:
        print_json(found)
    elif found:
        console = new_console()
        console.print(*backend_listing(found, TerminalStyle.of(console)), sep="\n")
    else:
        click.echo(
            "No backend yet: that is a server or account that answers. Add one with: meshlight backends add"
        )


@backends.command(epilog="""\b\nExample:\n  meshlight backends show ollama""")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the backend as JSON.")
@start_option
def show(name: str, *, as_json: bool) -> None:
    """Show all details of one backend.

    State, reason, fix, counts, models.
    """
    with connect_or_start() as client:
        backend = pick_backend(client.backends(), name)
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
@start_option
def remove(names: tuple[str, ...], *, yes: bool) -> None:
    """Remove backends, and their API keys from the keyring.

    An engine that Meshlight found automatically is ignored from then on, until you add it by its address.
    """
    with connect_or_start() as client:
        found = client.backends()
        chosen = [pick_backend(found, name) for name in names]
        for backend in chosen:
            if not yes and sys.stdin.isatty():
                click.confirm(f"Remove {backend.name} ({backend.url})?", abort=True)
            client.remove(backend.id)
            click.echo(f"Removed {backend.name}.")


@backends.command(
    epilog="""\b
Examples:
  meshlight backends check ollama
  meshlight backends check

Exit code: 0 if all are healthy, 1 if one is not."""
)
@click.argument("names", metavar="[NAME]...", nargs=-1)
@start_option
@click.pass_context
def check(ctx: click.Context, names: tuple[str, ...]) -> None:
    """Check backends now: the named ones, or all that are enabled."""
    console = new_console()
    style = TerminalStyle.of(console)
    all_ok = True
    with connect_or_start() as client:
        found = client.backends()
        chosen = [pick_backend(found, name) for name in names] or [b for b in found if b.enabled]
        for backend in chosen:
            result = client.check(backend.id)
            all_ok &= result.ok
            if result.ok:
                text = (
                    f"{backend.name} answers ({milliseconds(result.latency_ms)}, {models_of(result.models)})."
                )
                console.print(*message_lines(GOOD, text, "", style), sep="\n")
                if result.note:
                    console.print(*message_lines(WARN, f"{backend.name}: {result.note}", "", style), sep="\n")
            else:
                text = f"{backend.name}: {result.text or result.health.text}"
                console.print(*message_lines(BAD, text, result.fix or result.health.fix, style), sep="\n")
    ctx.exit(0 if all_ok else 1)


@backends.command(epilog="""\b\nExample:\n  meshlight backends enable ollama""")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@start_option
def enable(names: tuple[str, ...]) -> None:
    """Enable backends."""
    _switch(names, on=True)


@backends.command(epilog="""\b\nExample:\n  meshlight backends disable ollama""")
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@start_option
def disable(names: tuple[str, ...]) -> None:
    """Disable backends.

    They get no requests and don't affect the overall state.
    """
    _switch(names, on=False)


def _switch(names: tuple[str, ...], *, on: bool) -> None:
    console = new_console()
    with connect_or_start() as client:
        found = client.backends()
        for backend in [pick_backend(found, name) for name in names]:
            print_added(console, client.switch(backend.id, on=on), "Enabled" if on else "Disabled")
