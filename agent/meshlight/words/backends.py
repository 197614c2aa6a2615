"""The words that change which backends there are."""

import sys

import click
from msgspec.structs import replace
from rich.console import Console

from meshlight.backends.kinds import KINDS
from meshlight.desktop.listings import backend_listing, backend_screen
from meshlight.desktop.paper import BAD, GOOD, Paper, new_console, sign_of
from meshlight.desktop.screens import note
from meshlight.desktop.text import count, milliseconds
from meshlight.domain.backend import RINGS
from meshlight.domain.errors import BadRequest, CheckFailed
from meshlight.domain.view import BackendView
from meshlight.words.entry import pick, print_json, service


@click.group(epilog="NAME is a backend's name or id, as `meshlight backends list` shows them.")
def backends() -> None:
    """List, add, remove, check and switch backends."""


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
    with service() as mesh:
        found = mesh.backends()
    if as_json:
        print_json(found)
    elif found:
        console = new_console()
        console.print(*backend_listing(found, Paper.of(console)), sep="\n")
    else:
        click.echo("No backend yet. Add one with: meshlight backends add KIND URL")


@backends.command(epilog="""\b\nExample:\n  meshlight backends show ollama""")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the backend as JSON.")
def show(name: str, *, as_json: bool) -> None:
    """One backend in full: state, reason, fix, counts, models."""
    with service() as mesh:
        backend = pick(mesh.backends(), name)
    if as_json:
        print_json(backend)
    else:
        console = new_console()
        console.print(backend_screen(backend, Paper.of(console)))


@backends.command(
    epilog=f"""KIND is one of: {", ".join(KINDS)}.

\b
Examples:
  meshlight backends add ollama http://127.0.0.1:11434
  meshlight backends add vllm http://192.168.1.20:8000 --name "Big box"
  meshlight backends add openai-compatible https://llm.example.com --key
  pass show k | meshlight backends add vllm http://gpu.lan:8000 --key-stdin"""
)
@click.argument("kind", type=click.Choice(tuple(KINDS)), metavar="KIND")
@click.argument("url")
@click.option("--name", help="What to call it.  [its kind and host]")
@click.option("--ring", type=click.Choice(RINGS), help="How far away it is.  [told from its address]")
@click.option("--key", "ask_key", is_flag=True, help="Ask for its key, without showing it.")
@click.option("--key-stdin", is_flag=True, help="Read its key from standard input.")
@click.option("--save-anyway", is_flag=True, help="Keep it even if it doesn't answer now.")
@click.option("--disabled", is_flag=True, help="Add it switched off.")
def add(
    kind: str,
    url: str,
    *,
    name: str | None,
    ring: str | None,
    ask_key: bool,
    key_stdin: bool,
    save_anyway: bool,
    disabled: bool,
) -> None:
    """Add the backend of KIND at URL, after trying whether it answers.

    A key goes into the keyring of this machine; it is never an argument, since arguments can be seen by every
    program.
    """
    wish: dict[str, object] = {"kind": kind, "url": url}
    wish |= {k: v for k, v in (("name", name), ("ring", ring)) if v is not None}
    wish |= {"save_anyway": True} if save_anyway else {}
    wish |= {"enabled": False} if disabled else {}
    with service() as mesh:
        secret = _key(ask=ask_key, from_stdin=key_stdin)
        if secret is not None:
            wish["api_key"] = secret
        try:
            added = mesh.add(wish)
        except CheckFailed as error:
            more = "To add it all the same: --save-anyway."
            raise CheckFailed(error.title, f"{error.hint} {more}".strip()) from error
        if added.enabled and added.health.state == "unknown":
            seen = mesh.check(added.id)
            added = replace(added, health=seen.health, models=seen.models, latency_ms=seen.latency_ms)
    console = new_console()
    _tell(console, added, "Added")


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
    with service() as mesh:
        found = mesh.backends()
        chosen = [pick(found, name) for name in names]
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
    paper = Paper.of(console)
    all_well = True
    with service() as mesh:
        found = mesh.backends()
        chosen = [pick(found, name) for name in names] or [b for b in found if b.enabled]
        for backend in chosen:
            result = mesh.check(backend.id)
            all_well &= result.ok
            if result.ok:
                said = (
                    f"{backend.name} answers ({milliseconds(result.latency_ms)}, {_models(result.models)})."
                )
                console.print(*note(GOOD, said, "", paper), sep="\n")
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
    with service() as mesh:
        found = mesh.backends()
        for backend in [pick(found, name) for name in names]:
            _tell(console, mesh.switch(backend.id, on=on), "Switched on" if on else "Switched off")


def _tell(console: Console, backend: BackendView, done: str) -> None:
    """Say what was done to a backend, and how it is."""
    paper = Paper.of(console)
    if not backend.enabled:
        console.print(*note(sign_of(backend), f"{done}: {backend.name}.", "", paper), sep="\n")
    elif backend.health.state in {"healthy", "unknown"}:
        said = f"{done}: {backend.name} ({backend.health.state}, {_models(backend.models)})."
        console.print(*note(sign_of(backend), said, "", paper), sep="\n")
    else:
        said = f"{done}: {backend.name} ({backend.health.state}): {backend.health.text}"
        console.print(*note(sign_of(backend), said, backend.health.fix, paper), sep="\n")


def _key(*, ask: bool, from_stdin: bool) -> str | None:
    """Get the backend's key from where the person wants to give it; None if it has none."""
    if ask and from_stdin:
        raise BadRequest("--key and --key-stdin don't go together.", "Give one of them.")
    if from_stdin:
        secret = sys.stdin.readline().strip()
        if not secret:
            raise BadRequest("Standard input held no key.", "Pipe the key in as one line.")
        return secret
    if ask:
        typed: str = click.prompt("Key (not shown)", hide_input=True)
        return typed.strip()
    return None


def _models(names: tuple[str, ...]) -> str:
    return count(len(names), "model")
