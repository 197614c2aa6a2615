"""The commands below `meshlight secrets`: they never print an API key, or take one from the command line.

If the service runs, it makes the change; otherwise the keyring and the configuration are changed directly.
"""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import click
from msgspec.structs import replace

from meshlight.api_client.client import ApiClient
from meshlight.backends.kinds import ring_for
from meshlight.cli.key_storage import choose_storage, with_storage
from meshlight.cli.output.console import TerminalStyle, new_console
from meshlight.cli.output.table import Column, lay_out
from meshlight.cli.service_client import print_json
from meshlight.domain.backend import Backend
from meshlight.domain.errors import BadRequest, NotFound, SecretError, ServiceError
from meshlight.domain.text import sanitize
from meshlight.http_client.address import parse_address
from meshlight.storage.config.file import ConfigFile
from meshlight.storage.paths import Paths
from meshlight.storage.secrets.environment import variable
from meshlight.storage.secrets.store import Secrets

T = TypeVar("T")


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  meshlight secrets
  pass show studio | meshlight secrets set studio

API keys are stored in the system's keyring, or in a file of their own where you chose that; never in the
configuration file.""",
)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
@click.pass_context
def secrets(ctx: click.Context, *, as_json: bool) -> None:
    """List, set and remove the API keys of backends.

    Without a command, they are listed; the keys are never shown.
    """
    if ctx.invoked_subcommand is None:
        ctx.invoke(list_, as_json=as_json)


@secrets.command(
    name="list",
    epilog="""\b
Example:
  meshlight secrets list""",
)
@click.option("--json", "as_json", is_flag=True, help="Print the list as JSON.")
def list_(*, as_json: bool) -> None:
    """List the backends with an API key.

    The state of each key is shown, and never the key.
    """

    async def list_keys(store: Secrets) -> list[dict[str, str]]:
        found = []
        for backend in _backends():
            given = store.in_environment(backend.id)
            if backend.has_secret or given:
                fact = await store.check(backend.id)
                source = "environment" if given else "file" if store.is_file else "keyring"
                found.append(
                    {
                        "backend": backend.id,
                        "name": backend.name,
                        "state": fact.state,
                        "place": source,
                        "fix": fact.fix,
                    }
                )
        return found

    rows = _with_secrets(list_keys)
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo("No backend has an API key. Set one with: meshlight secrets set BACKEND")
    else:
        columns = (
            Column(title="BACKEND"),
            Column(title="STATE"),
            Column(title="FROM"),
            Column(title="VARIABLE", drop=1),
        )
        table_rows = [
            [sanitize(r["name"]), r["state"], r["place"], variable(r["backend"], "api_key")] for r in rows
        ]
        console = new_console()
        console.print(*lay_out(columns, table_rows, TerminalStyle.of(console).width), sep="\n")
        for row in rows:
            if row["fix"]:
                click.echo(f"{sanitize(row['name'])}: {row['fix']}")


@secrets.command(
    name="set",
    epilog="""\b
Examples:
  meshlight secrets set studio                  asks for the key
  pass show studio | meshlight secrets set studio""",
)
@click.argument("backend")
def set_(*, backend: str) -> None:
    """Set the API key of BACKEND (its name or id).

    It comes from a prompt or standard input. It can't be given on the command line, where other users of this machine
    could read it.
    """
    chosen = _pick(backend)
    value = _prompt_key(chosen)
    service = _service()
    if service is not None:
        with service:  # the service uses the new key at once, and only it writes the configuration
            with_storage(service, lambda: service.change(chosen.id, {"api_key": value}))
    else:
        _store(chosen, value)
        _save_has_secret(chosen, has_secret=True)
    click.echo(f"The API key of {sanitize(chosen.name)} is saved.")


@secrets.command(
    name="remove",
    epilog="""\b
Example:
  meshlight secrets remove studio""",
)
@click.argument("backend")
def remove(*, backend: str) -> None:
    """Remove the API key of BACKEND (its name or id)."""
    chosen = _pick(backend)
    service = _service()
    if service is not None:
        with service:
            service.change(chosen.id, {"api_key": ""})
    else:
        _with_secrets(lambda store: store.remove(chosen.id))
        _save_has_secret(chosen, has_secret=False)
    click.echo(f"The API key of {sanitize(chosen.name)} is removed.")


def _store(backend: Backend, value: str) -> None:
    """Store the key without the service; where there is no keyring, ask once whether a file may have it."""
    origin = parse_address(backend.url).origin

    def store() -> None:
        _with_secrets(lambda store: store.set(backend.id, value, origin=origin))

    try:
        store()
    except SecretError as error:
        config, _ = _file().load_or_last_good()
        if error.state != "no-keyring" or config.key_storage != "ask":
            raise
        choice = choose_storage(Paths.here().secrets_file)
        if choice is not None:
            _file().change(lambda old: replace(old, key_storage=choice))
        if choice != "file":
            raise
        store()


def _prompt_key(backend: Backend) -> str:
    """Return the key from a prompt without echo, or from a pipe."""
    if sys.stdin.isatty():
        value = click.prompt(
            f"API key of {sanitize(backend.name)}", hide_input=True, default="", show_default=False
        )
    else:
        value = sys.stdin.read()
    if not str(value).strip():
        raise BadRequest("No key was given.", "Type it, or send it on standard input.")
    return str(value).strip()


def _file() -> ConfigFile:
    return ConfigFile(Paths.here().config_file, ring_for)


def _backends() -> tuple[Backend, ...]:
    """Return the backends of the configuration; those that were only discovered have no keys."""
    config, _ = _file().load_or_last_good()
    return config.backends


def _pick(name: str) -> Backend:
    """Return the backend with this id or name; raises NotFound if there is none, or more than one."""
    backends = _backends()
    found = [b for b in backends if b.id == name] or [
        b for b in backends if b.name.casefold() == name.casefold()
    ]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(b.id for b in found)
        raise NotFound(f"{len(found)} backends are called {name!r}.", f"Name one by its id: {ids}.")
    hint = "See their names with: meshlight backends list"
    raise NotFound(f"No backend of the configuration is called {name!r}.", hint)


def _service() -> ApiClient | None:
    try:
        return ApiClient.connect(Paths.here().runtime_file)
    except ServiceError:
        return None


def _save_has_secret(backend: Backend, *, has_secret: bool) -> None:
    """Save in the configuration whether the backend has a key."""
    if backend.has_secret != has_secret:
        _file().put_backend(replace(backend, has_secret=has_secret))


def _with_secrets(work: Callable[[Secrets], Coroutine[Any, Any, T]]) -> T:
    """Run a task with the secrets store in an event loop of its own."""

    async def run() -> T:
        paths = Paths.here()
        config, _ = _file().load_or_last_good()
        store = Secrets.without_service(paths.secrets_file, config.key_storage)
        try:
            return await work(store)
        finally:
            store.close()

    return asyncio.run(run())
