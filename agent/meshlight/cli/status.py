"""The commands that inspect the mesh: `status`, `refresh`, `route`, `test`."""

from collections.abc import Callable

import click
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from meshlight.api_client.client import ApiClient
from meshlight.cli.output.console import TerminalStyle, new_console
from meshlight.cli.output.reports import route_report, test_report
from meshlight.cli.output.status import status_report
from meshlight.cli.service_client import print_json
from meshlight.cli.start import connect_or_start, start_option
from meshlight.domain.api_types import SnapshotView
from meshlight.domain.events import LocalEvent
from meshlight.domain.snapshot import Light

EXIT_CODES: dict[Light, int] = {"green": 0, "amber": 1, "red": 2, "grey": 3}


@click.command(
    epilog="""\b
Examples:
  meshlight status
  meshlight status --watch
  meshlight status --json | jq -r '.backends[] | .name + " " + .health.state'

Exit code: 0 green, 1 amber, 2 red, 3 grey (not known yet), 4 the service isn't running."""
)
@click.option("--json", "as_json", is_flag=True, help="Print the snapshot as JSON.")
@click.option("--watch", is_flag=True, help="Show each change until Ctrl-C.")
@start_option
@click.pass_context
def status(ctx: click.Context, *, as_json: bool, watch: bool) -> None:
    """Show the state of the mesh and its backends.

    Shows the overall state, and each backend with its state, latency and models. For a backend that is not healthy,
    it shows the reason and a fix. A backend is a server or account that answers.
    """
    with connect_or_start() as client:
        view = _watch(client, as_json=as_json) if watch else client.snapshot()
        if not watch:
            _show(view, client.runtime.url, as_json=as_json)
    ctx.exit(EXIT_CODES[view.light])


@click.command(
    epilog="""\b
Example:
  meshlight refresh

The exit code is that of `meshlight status`."""
)
@click.option("--json", "as_json", is_flag=True, help="Print the snapshot afterwards as JSON.")
@start_option
@click.pass_context
def refresh(ctx: click.Context, *, as_json: bool) -> None:
    """Check every backend now and search for new engines, then show the status."""
    with connect_or_start() as client:
        columns = (TextColumn("Checking backends"), BarColumn(), MofNCompleteColumn())
        console = new_console(stderr=True)
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("", total=None)
            client.refresh(lambda done, total: bar.update(task, completed=done, total=total))
        view = client.snapshot()
        _show(view, client.runtime.url, as_json=as_json)
    ctx.exit(EXIT_CODES[view.light])


@click.command(
    epilog="""\b
Examples:
  meshlight route qwen3:4b
  meshlight route my-alias
  meshlight route ollama/qwen3:4b

Exit code: 0 if a backend would answer, 1 if none would."""
)
@click.argument("model")
@click.option(
    "--tokens", type=click.IntRange(0, 1_000_000_000), default=0, help="For a prompt of so many tokens."
)
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@start_option
@click.pass_context
def route(ctx: click.Context, model: str, tokens: int, *, as_json: bool) -> None:
    """Show which backend would answer for MODEL now, and why not the others.

    MODEL is a model's id, one of your aliases, or BACKEND/MODEL for the model on one backend.
    """
    with connect_or_start() as client:
        reply = client.route(model, tokens)
    if as_json:
        print_json(reply)
    else:
        console = new_console()
        console.print(route_report(reply, TerminalStyle.of(console)))
    ctx.exit(0 if reply.answers is not None else 1)


@click.command(
    epilog="""\b
Examples:
  meshlight test
  meshlight test qwen3:4b --count 5

Exit code: 0 if every request was answered, 1 if one was not."""
)
@click.argument("model", required=False)
@click.option("--count", type=click.IntRange(1, 5), default=3, show_default=True, help="How many requests.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@start_option
@click.pass_context
def test(ctx: click.Context, model: str | None, count: int, *, as_json: bool) -> None:
    """Send a few small real requests and measure them: which backend answered, how fast.

    Without MODEL, a model that is ready is used. The requests take the same route as those of your apps.
    """
    with connect_or_start() as client:
        names = {b.id: b.name for b in client.snapshot().backends}
        with new_console(stderr=True).status(
            "Waiting for the responses. A model that must be loaded first may take minutes."
        ):
            test_model = client.test_model(model, count)
    if as_json:
        print_json(test_model)
    else:
        console = new_console()
        console.print(test_report(test_model, names, TerminalStyle.of(console)))
    ctx.exit(0 if test_model.runs and all(run.ok for run in test_model.runs) else 1)


def _show(view: SnapshotView, url: str, *, as_json: bool) -> None:
    if as_json:
        print_json(view)
        return

    console = new_console()
    console.print(status_report(view, url, TerminalStyle.of(console)))


def _watch(client: ApiClient, *, as_json: bool) -> SnapshotView:
    """Show the mesh after each change until Ctrl-C; return the last snapshot."""
    console = new_console()
    url = client.runtime.url
    if as_json:
        return _follow(client, lambda view: print_json(view, indent=None), only_changes=True)
    if not console.is_terminal:
        return _follow(client, lambda view: _show(view, url, as_json=False), only_changes=True)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        view = _follow(
            client,
            lambda view: live.update(status_report(view, url, TerminalStyle.of(console)), refresh=True),
        )
    _show(view, url, as_json=False)
    return view


def _follow(
    client: ApiClient, show: Callable[[SnapshotView], None], *, only_changes: bool = False
) -> SnapshotView:
    """Show the mesh after each event; with `only_changes`, not if only numbers such as latencies changed."""
    view = client.snapshot()
    show(view)
    try:
        for event in client.events():
            if event.seq <= view.seq or isinstance(event, LocalEvent):
                continue  # already part of the last snapshot, or of nothing that is shown here
            previous, view = view, event if isinstance(event, SnapshotView) else client.snapshot()
            if not only_changes or _summary(view) != _summary(previous):
                show(view)
    except KeyboardInterrupt:
        pass
    return view


def _summary(view: SnapshotView) -> object:
    return view.light, view.notices, [(b.id, b.enabled, b.health.state, b.models) for b in view.backends]
