"""The commands below `meshlight models`: the models of the mesh, and those that this machine runs itself."""

import sys
from collections.abc import Callable, Iterator

import click
from msgspec.structs import replace
from rich.progress import BarColumn, Progress, TextColumn

from meshlight.api_client.client import ApiClient
from meshlight.cli.model_pull import pull
from meshlight.cli.output.console import BAD, GOOD, WARN, TerminalStyle, new_console
from meshlight.cli.output.models import local_report, model_report, place_text
from meshlight.cli.output.reports import context_text, model_lines, model_listing
from meshlight.cli.output.status import message_lines
from meshlight.cli.service_client import pick_backend, print_json
from meshlight.cli.start import connect_or_start, start_option
from meshlight.domain.errors import BadRequest, Conflict, NotFound
from meshlight.domain.local_models import EngineState
from meshlight.domain.local_views import LocalModelView, LocalView
from meshlight.domain.text import sanitize, similar_names, size_text

NAMED_MAX = 5
"""Models that an ambiguous name is answered with."""
_SETTLED: frozenset[EngineState] = frozenset({"ready", "failed", "missing"})
_NOT_LOADED: frozenset[EngineState] = frozenset({"failed", "missing", "on-disk"})
_ON = click.option("--on", "backend", metavar="BACKEND", help="On this backend instead of this machine.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the model as JSON.")


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  meshlight models
  meshlight models --json | jq -r '.[].id'
  meshlight models --json | jq '.[] | {id, details}'
  meshlight models list
  meshlight models pull starter
  meshlight models load smollm2 --wait

NAME is the name of a model of this machine, or its unique end or beginning.""",
)
@click.option("--json", "as_json", is_flag=True, help="Print the models as JSON.")
@start_option
@click.pass_context
def models(ctx: click.Context, *, as_json: bool) -> None:
    """List every model, and manage those of this machine.

    Without a command, all models that can be reached are listed. A model that several backends serve is listed once,
    with the nearest ring. Context (in tokens), quantisation, and whether it is in memory now are shown if an engine
    reports them.
    """
    if ctx.invoked_subcommand is not None:
        return
    with connect_or_start() as client:
        view = client.snapshot()
    if as_json:
        print_json(model_listing(view))
        return

    if not view.models:
        click.echo("No model can be reached yet. See why with: meshlight status")
        click.echo("Get a small one for this machine with: meshlight models pull starter")
        return
    console = new_console()
    console.print(*model_lines(view, TerminalStyle.of(console)), sep="\n")


models.add_command(pull)


@models.command(
    name="list",
    epilog="""\b
Examples:
  meshlight models list
  meshlight models list --json | jq -r '.models[] | .id + " " + .state'""",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@start_option
def list_(*, as_json: bool) -> None:
    """List the models that this machine can run itself, and downloads.

    NEEDS is the memory that a model takes with its context, at most. USE says how many requests it answers now, or
    for how long it has been idle.
    """
    with connect_or_start() as client:
        view = client.local_models()
    if as_json:
        print_json(view)
    else:
        console = new_console()
        console.print(local_report(view, TerminalStyle.of(console)))


@models.command(
    epilog="""\b
Examples:
  meshlight models load smollm2
  meshlight models load Qwen3-8B-GGUF:Q4_K_M --wait
  meshlight models load qwen3:4b --on ollama

A request for a model loads it too. Exit code: 0 if it is loaded or loading, 1 if
it is not."""
)
@click.argument("name")
@click.option("--wait", is_flag=True, help="Wait until it is loaded.")
@_ON
@_JSON
@start_option
@click.pass_context
def load(ctx: click.Context, name: str, *, wait: bool, backend: str | None, as_json: bool) -> None:
    """Load a model of this machine into memory.

    Idle models are unloaded if it needs their memory; those that are busy or kept never are.
    """
    with connect_or_start() as client:
        if backend is not None:
            _on_backend(client, backend, name, loads=True)
            return
        model = _own_model(client, client.local_models(), name)
        model = _load_and_wait(client, model.id) if wait else client.load_model(model.id)
    if as_json:
        print_json(model)
    else:
        _print_load(model)
    ctx.exit(1 if model.state in _NOT_LOADED else 0)


@models.command(
    epilog="""\b
Examples:
  meshlight models unload smollm2
  meshlight models unload smollm2 --force
  meshlight models unload --all
  meshlight models unload qwen3:4b --on ollama"""
)
@click.argument("name", required=False)
@click.option("--force", is_flag=True, help="Unload it although it answers requests: they are cut.")
@click.option("--all", "everything", is_flag=True, help="Unload every model that is idle and not kept.")
@_ON
@_JSON
@start_option
def unload(name: str | None, *, force: bool, everything: bool, backend: str | None, as_json: bool) -> None:
    """Unload a model of this machine, and free its memory."""
    if (name is None) != everything or (everything and backend is not None):
        raise BadRequest(
            "Name one model, or give --all for every model that is idle.",
            "See what is loaded with: meshlight models list",
        )
    with connect_or_start() as client:
        if backend is not None and name is not None:
            _on_backend(client, backend, name, loads=False)
            return
        view = client.local_models()
        chosen = idle_models(view) if name is None else [_own_model(client, view, name)]
        unloaded = [client.unload_model(model.id, force=force) for model in chosen]
    if as_json:
        print_json(unloaded if name is None else unloaded[0])
    elif not chosen:
        click.echo("Nothing to unload: no model is loaded, idle and not kept.")
    else:
        for before in chosen:
            _print_unload(before)


@models.command(
    epilog="""\b
Examples:
  meshlight models keep smollm2
  meshlight models keep smollm2 --off"""
)
@click.argument("name")
@click.option("--off", is_flag=True, help="Keep it no longer.")
@_JSON
@start_option
def keep(name: str, *, off: bool, as_json: bool) -> None:
    """Keep a model loaded, however long it is idle.

    It is loaded at each start too, and never unloaded for another model.
    """
    with connect_or_start() as client:
        model = find_model(client.local_models(), name)
        model = client.change_model(model.id, {"keep": not off})
    if as_json:
        print_json(model)
        return
    shown = sanitize(model.id)
    if off:
        _say(f"{shown} is unloaded when it has been idle for a while, like any other.")
    elif model.state == "ready":
        _say(f"{shown} stays loaded. Undo this with --off.")
    else:
        _say(f"{shown} is kept: it is loaded now and at each start, and stays. Undo this with --off.")


@models.command(
    epilog="""\b
Examples:
  meshlight models show smollm2
  meshlight models show smollm2 --json | jq .need_bytes"""
)
@click.argument("name")
@_JSON
@start_option
def show(name: str, *, as_json: bool) -> None:
    """Show all details of one model of this machine."""
    with connect_or_start() as client:
        view = client.local_models()
    model = find_model(view, name)
    if as_json:
        print_json(model)
    else:
        console = new_console()
        place = place_text(view, model.store)
        console.print(model_report(model, place, TerminalStyle.of(console)))


@models.command(epilog="""\b\nExample:\n  meshlight models log smollm2""")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print the lines as JSON.")
@start_option
def log(name: str, *, as_json: bool) -> None:
    """Print the last lines that a model's engine wrote."""
    with connect_or_start() as client:
        model = find_model(client.local_models(), name)
        written = client.engine_log(model.id)
    if as_json:
        print_json(written)
    elif not written.lines:
        click.echo(f"{sanitize(model.id)} has no log: it was not loaded since the service started.")
    else:
        for line in written.lines:
            click.echo(sanitize(line))


@models.command(
    epilog="""\b
Examples:
  meshlight models rm smollm2
  meshlight models rm --yes smollm2"""
)
@click.argument("name")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--json", "as_json", is_flag=True, help="Print what was deleted as JSON.")
@start_option
def rm(name: str, *, yes: bool, as_json: bool) -> None:
    """Delete a model that Meshlight has downloaded.

    What other programs have downloaded is only read, never changed.
    """
    with connect_or_start() as client:
        view = client.local_models()
        model = find_model(view, name)
        shown = sanitize(model.id)
        if not model.can_delete:
            raise Conflict(
                f"{shown} lies in {place_text(view, model.store)}, which Meshlight only reads.",
                "Delete it with the program that put it there.",
            )
        if not yes:
            if not sys.stdin.isatty():
                raise BadRequest("Nobody can be asked here whether to delete it.", "Add --yes.")
            click.confirm(f"Delete {shown} ({size_text(model.size_bytes)})?", abort=True, err=as_json)
        client.delete_model(model.id)
    if as_json:
        print_json(model)
    else:
        _say(f"Deleted {shown}: {size_text(model.size_bytes)} of the disk are free again.")


def find_model(view: LocalView, text: str) -> LocalModelView:
    """Return the model with this name, or with a name that ends or begins so; ignores case.

    Raises NotFound with similar names, BadRequest with the names if there are several.
    """
    wanted = text.strip().casefold()
    names = {model.id: [name.casefold() for name in (model.id, *model.names)] for model in view.models}
    for fits in _matches(wanted):
        found = [model for model in view.models if any(fits(name) for name in names[model.id])]
        if len(found) == 1:
            return found[0]
        if found:
            shown = ", ".join(sanitize(model.id) for model in found[:NAMED_MAX])
            raise BadRequest(
                f"{len(found)} models match {sanitize(text)!r}.", f"Give more of the name. They are: {shown}"
            )
    if not view.enabled:
        raise NotFound(
            "This machine's own models are switched off.", "Write `enabled = true` below `[local]`."
        )
    if not view.models:
        raise NotFound(
            "This machine has no models of its own yet.",
            "Get a small one with: meshlight models pull starter",
        )
    similar = [sanitize(name) for name in similar_names(text, (model.id for model in view.models))]
    hint = f"Did you mean {' or '.join(similar)}?" if similar else "See them with: meshlight models list"
    raise NotFound(f"This machine has no model called {sanitize(text)!r}.", hint)


def idle_models(view: LocalView) -> list[LocalModelView]:
    """Return the loaded models that nobody uses and that are not kept."""
    return [one for one in view.models if one.state == "ready" and not one.in_flight and not one.keep]


def _own_model(client: ApiClient, view: LocalView, name: str) -> LocalModelView:
    """Return the model as `find_model` does; if another backend could load it, NotFound says so."""
    try:
        return find_model(view, name)
    except NotFound as error:
        for backend in client.backends():
            if backend.can_load and name in backend.models:
                hint = f"{sanitize(backend.name)} has it: add --on {sanitize(backend.id)}"
                raise NotFound(error.title, hint) from error
        raise


def _matches(wanted: str) -> Iterator[Callable[[str], bool]]:
    """Yield the ways in which a name may be meant, the strictest first."""
    yield lambda name: name == wanted
    if not wanted:
        return
    yield (
        lambda name: (
            name.endswith((f"/{wanted}", f":{wanted}")) or name.partition(":")[0].endswith(f"/{wanted}")
        )
    )
    yield lambda name: name.endswith(wanted)
    yield lambda name: name.rpartition("/")[2].startswith(wanted)


def _load_and_wait(client: ApiClient, model: str) -> LocalModelView:
    """Load a model and wait for the end of that, visibly on a terminal; Ctrl-C leaves it loading."""
    now = client.load_model(model)
    if now.state in _SETTLED:
        return now
    console = new_console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[percent]}"))
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task(f"Loading {sanitize(model)}", total=None, percent="")
            for view in client.follow_local_models():
                before = now
                now = next((one for one in view.models if one.id == model), replace(now, state="missing"))
                is_unloaded = now.state == "on-disk" and before.state != "on-disk"
                if now.state in _SETTLED or is_unloaded:
                    break
                known = now.progress if now.state == "loading" else None
                bar.update(
                    task,
                    total=None if known is None else 1.0,
                    completed=known or 0.0,
                    percent="" if known is None else f"{known * 100:.0f} %",
                )
    except KeyboardInterrupt:
        click.echo(f"{sanitize(model)} goes on loading. Stop it with: meshlight models unload NAME", err=True)
        click.get_current_context().exit(1)
    return now


def _print_load(model: LocalModelView) -> None:
    console = new_console()
    style = TerminalStyle.of(console)
    shown = sanitize(model.id)
    if model.state == "ready":
        context = f", {context_text(model.context)} context" if model.context else ""
        runner = f" by {sanitize(model.runner)}" if model.runner else ""
        text = f"{shown} is loaded{runner}: {size_text(model.need_bytes)}{context}."
        console.print(*message_lines(GOOD, text, "", style), sep="\n")
    elif model.state in {"failed", "missing"}:
        why = model.reason.text if model.reason else "It could not be loaded."
        fix = model.reason.fix if model.reason else ""
        console.print(*message_lines(BAD, f"{shown}: {why}", fix, style), sep="\n")
        click.echo(f"See what its engine wrote with: meshlight models log {shown}")
    elif model.state == "on-disk":
        console.print(*message_lines(WARN, f"{shown} was unloaded again.", "", style), sep="\n")
    elif model.state == "waiting":
        why = model.reason.text if model.reason else "It waits for memory."
        console.print(*message_lines(WARN, f"{shown}: {why}", "", style), sep="\n")
    else:
        console.print(*message_lines(GOOD, f"{shown} is loading.", "", style), sep="\n")
        click.echo("See how far it is with: meshlight models list")


def _print_unload(before: LocalModelView) -> None:
    shown = sanitize(before.id)
    if before.state in {"on-disk", "failed", "missing"}:
        _say(f"{shown} was not loaded.")
    else:
        has_memory = before.state == "ready" and before.need_bytes
        freed = f": {size_text(before.need_bytes)} of memory are free again" if has_memory else ""
        _say(f"Unloaded {shown}{freed}.")


def _on_backend(client: ApiClient, backend: str, model: str, *, loads: bool) -> None:
    """Have another engine or a peer load or unload a model."""
    chosen = pick_backend(client.backends(), backend)
    (client.load_on_backend if loads else client.unload_on_backend)(chosen.id, model)
    _say(f"{chosen.name} has {'loaded' if loads else 'unloaded'} {sanitize(model)}.")


def _say(text: str) -> None:
    console = new_console()
    console.print(*message_lines(GOOD, text, "", TerminalStyle.of(console)), sep="\n")
