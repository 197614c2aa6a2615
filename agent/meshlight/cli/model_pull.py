"""The command `meshlight models pull`: a download's beginning, its choice and its progress."""

import sys
from typing import Literal

import click
from rich.progress import BarColumn, Progress, TextColumn

from meshlight.api_client.client import ApiClient
from meshlight.cli.output.console import BAD, GOOD, TerminalStyle, new_console
from meshlight.cli.output.models import (
    DOWNLOAD_STATES,
    choice_lines,
    done_text,
    download_lines,
    download_problem_lines,
    fit_text,
    seconds_left,
    starter_lines,
)
from meshlight.cli.output.status import message_lines
from meshlight.cli.service_client import print_json
from meshlight.cli.start import connect_or_start, start_option
from meshlight.domain.errors import BadRequest, Conflict, NotFound
from meshlight.domain.local_views import (
    DownloadState,
    DownloadView,
    LocalView,
    RepositoryFile,
    RepositoryView,
)
from meshlight.domain.text import duration, sanitize, size_text

Change = Literal["pause", "resume", "cancel"]
USUAL_QUANTIZATION = "Q4_K_M"
"""What is downloaded if no other is named; the service knows this rule too."""
_OVER: frozenset[DownloadState] = frozenset({"done", "failed"})
"""The states in which a download is over."""
NAMED_MAX = 12
"""Names that are listed where nobody can be asked."""


@click.command(
    epilog="""\b
Examples:
  meshlight models pull starter
  meshlight models pull Qwen/Qwen3-4B-GGUF
  meshlight models pull Qwen/Qwen3-4B-GGUF:Q8_0 --no-wait
  meshlight models pull Qwen/Qwen3-4B-GGUF --pause

NAME is `starter`, `engine` (what runs models), or a repository of Hugging Face, which may be followed by a
quantisation. Without NAME, the models for a start are shown. Ctrl-C leaves the
download running. Exit code: 0 if the model is here (or --no-wait), 1 if not."""
)
@click.argument("name", required=False)
@click.option("--no-wait", is_flag=True, help="Begin the download, and leave it to the service.")
@click.option("--pause", "change", flag_value="pause", type=str, help="Pause this download.")
@click.option("--resume", "change", flag_value="resume", type=str, help="Go on with this download.")
@click.option(
    "--cancel", "change", flag_value="cancel", type=str, help="End it, and delete what is here of it."
)
@click.option("--json", "as_json", is_flag=True, help="Print the download as JSON, at its end.")
@start_option
@click.pass_context
def pull(
    ctx: click.Context, name: str | None, *, no_wait: bool, change: Change | None, as_json: bool
) -> None:
    """Download a model for this machine.

    It goes on where it stopped after a restart, a lost network, or --pause.
    """
    with connect_or_start(asks=False) as client:
        if name is None and change is None:
            _offer(client.local_models(), as_json=as_json)
            return
        if change is not None and change != "resume":
            download = find_download(client.local_models(), name)
            _stop(client, download, change, as_json=as_json)
            return
        if change == "resume":
            download = client.resume_download(find_download(client.local_models(), name).id)
        else:
            download = _begin(client, name or "", can_ask=not as_json)
        is_new = download.state not in _OVER
        if is_new and not no_wait:
            download = _follow(client, download)
    if as_json:
        print_json(download)
    else:
        _print_end(download, is_new=is_new)
    ctx.exit(1 if download.state == "failed" else 0)


def find_download(view: LocalView, name: str | None) -> DownloadView:
    """Return the download with this name, id, or end of its name; without a name, the only one that is not over."""
    running = [one for one in view.downloads if one.state != "done"]
    wanted = (name or "").strip().casefold()
    exact = [one for one in running if wanted in {one.id.casefold(), one.name.casefold()}]
    found = exact or [
        one
        for one in running
        if one.name.casefold().endswith(wanted) or one.name.casefold().partition(":")[0].endswith(wanted)
    ]
    if len(found) == 1:
        return found[0]
    shown = ", ".join(sanitize(one.name) for one in found or running)
    if not running:
        raise NotFound("No model is being downloaded.", "Begin with: meshlight models pull NAME")
    if found:
        raise BadRequest("It is not clear which download is meant.", f"Name one of: {shown}")
    raise NotFound(f"No download is called {sanitize(name or '')!r}.", f"There are: {shown}")


def needs_choice(repository: RepositoryView) -> bool:
    """Whether a repository offers several models, and not the usual one among them."""
    usual = [file for file in repository.files if file.quantization.upper() == USUAL_QUANTIZATION]
    return len(repository.files) > 1 and len(usual) != 1


def _offer(view: LocalView, *, as_json: bool) -> None:
    if as_json:
        print_json(view.starters)
        return
    console = new_console()
    style = TerminalStyle.of(console)
    if view.downloads:
        console.print(*download_lines(view.downloads, style), "", sep="\n")
    console.print(*starter_lines(view.starters, style), sep="\n")


def _stop(client: ApiClient, download: DownloadView, change: Change, *, as_json: bool) -> None:
    name = sanitize(download.name)
    if change == "cancel":
        client.cancel_download(download.id)
    else:
        download = client.pause_download(download.id)
    if as_json:
        print_json(download)
    elif change == "cancel":
        _say(f"Cancelled {name}. What was here of it is deleted.")
    else:
        _say(f"Paused {name} at {done_text(download)}.")
        click.echo(f"Go on with: meshlight models pull {name} --resume")


def _begin(client: ApiClient, name: str, *, can_ask: bool) -> DownloadView:
    """Begin a download; if the repository offers several models, ask which."""
    wanted = name.strip()
    try:
        return client.pull_model(wanted)
    except Conflict:
        has_choice = "/" in wanted and ":" not in wanted.rpartition("/")[2]
        repository = client.repository(wanted) if has_choice else None
        if repository is None or not needs_choice(repository):
            raise
    if can_ask and sys.stdin.isatty():
        return client.pull_model(_ask(repository).name)
    names = ", ".join(
        f"{sanitize(file.name)} ({size_text(file.size_bytes)}, {fit_text(file)})"
        for file in repository.files[:NAMED_MAX]
    )
    more = len(repository.files) - NAMED_MAX
    raise BadRequest(
        f"{sanitize(repository.name)} offers several models.",
        f"Name one of: {names}{f' and {more} more' if more > 0 else ''}",
    )


def _ask(repository: RepositoryView) -> RepositoryFile:
    files = repository.files
    console = new_console()
    click.echo(
        f"{sanitize(repository.name)} offers several models. Fewer bits are smaller, and less precise."
    )
    console.print(*choice_lines(files, TerminalStyle.of(console)), sep="\n")
    fitting = [number for number, file in enumerate(files, start=1) if file.fits != "never"]
    best = max(fitting, key=lambda number: files[number - 1].size_bytes, default=None)

    def read(answer: object) -> int:
        """Return the number that an answer means, which may be a quantisation too."""
        word = str(answer).strip().casefold()
        for number, file in enumerate(files, start=1):
            if word in {str(number), file.quantization.casefold(), file.name.casefold()}:
                return number
        raise click.BadParameter(f"Answer with a number from 1 to {len(files)}.")

    chosen = files[click.prompt("Which one", value_proc=read, default=best) - 1]
    if chosen.fits == "never":
        click.confirm("It is too big to be loaded on this machine. Download it anyway?", abort=True)
    return chosen


def _follow(client: ApiClient, download: DownloadView) -> DownloadView:
    """Show a download's progress until it ends; Ctrl-C leaves it running."""
    console = new_console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TextColumn("{task.fields[text]}"),
    )
    name = sanitize(download.name)
    try:
        is_live = console.is_terminal and not console.is_dumb_terminal
        with Progress(*columns, console=console, transient=True, disable=not is_live) as bar:
            task = bar.add_task(name, total=None, text="")
            if not is_live:
                click.echo(f"Downloading {name}, {done_text(download)}…", err=True)
            for view in client.follow_local_models():
                now = next((one for one in view.downloads if one.id == download.id), None)
                if now is None:
                    return _ended(client, download)
                download = now
                if download.state in _OVER:
                    break
                bar.update(
                    task,
                    total=download.total_bytes or None,
                    completed=download.done_bytes,
                    text=_progress_text(download),
                )
    except KeyboardInterrupt:
        click.echo(
            f"The download of {name} goes on in the service. See it with: meshlight models list", err=True
        )
        click.echo(f"Stop it with: meshlight models pull {name} --pause (or --cancel)", err=True)
        click.get_current_context().exit(1)
    return download


def _ended(client: ApiClient, download: DownloadView) -> DownloadView:
    """Return how a download ended that is listed no more; raises Conflict if it was cancelled."""
    if any(download.name in {model.id, *model.names} for model in client.local_models().models):
        return DownloadView(id=download.id, name=download.name, state="done", model=download.name)
    raise Conflict(f"The download of {sanitize(download.name)} was cancelled.")


def _progress_text(download: DownloadView) -> str:
    parts = [done_text(download)]
    if download.reason is not None:
        parts.append(sanitize(download.reason.text))
    elif download.state != "running":
        parts.append(DOWNLOAD_STATES[download.state].word)
    elif download.bytes_per_s:
        parts.append(f"{size_text(int(download.bytes_per_s))}/s")
        left_s = seconds_left(download)
        parts += [f"{duration(left_s)} left"] if left_s is not None else []
    return ", ".join(parts)


def _print_end(download: DownloadView, *, is_new: bool) -> None:
    console = new_console()
    style = TerminalStyle.of(console)
    name = sanitize(download.model or download.name)
    if download.state == "failed":
        lines = download_problem_lines(download, style)
        if not lines:
            lines = message_lines(BAD, f"{download.name} could not be downloaded.", "", style)
        console.print(*lines, sep="\n")
        if download.done_bytes:
            click.echo(f"Go on where it stopped with: meshlight models pull {sanitize(download.name)}")
    elif download.state == "done":
        size = f" ({size_text(download.total_bytes)})" if download.total_bytes and is_new else ""
        _say(f"{name} is here{size}.")
        if download.model:
            click.echo(f"Try it with: meshlight test {name}")
    else:
        _say(f"Downloading {name}.")
        click.echo("See how far it is with: meshlight models list")


def _say(text: str) -> None:
    console = new_console()
    console.print(*message_lines(GOOD, text, "", TerminalStyle.of(console)), sep="\n")
