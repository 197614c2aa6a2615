"""`meshlight launch`: starts a client app with Meshlight's settings, or writes them into the app's own file."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import click
import psutil

from meshlight.cli.app_settings import HIDDEN, AppSettings
from meshlight.cli.output.console import TerminalStyle, new_console
from meshlight.cli.output.table import Column, lay_out
from meshlight.cli.start import connect_or_start, start_option
from meshlight.desktop.system.process import environment
from meshlight.domain.app_recipes import (
    Access,
    arguments_for,
    private_settings,
    settings_for,
    variables_for,
)
from meshlight.domain.app_views import AppView
from meshlight.domain.client_apps import APPS, ClientApp
from meshlight.domain.errors import BadRequest, MeshlightError, NotFound
from meshlight.domain.text import sanitize, write_error
from meshlight.storage.files import make_folder, write_atomic
from meshlight.storage.paths import Paths

_LISTED: Final = ", ".join(APPS)
_RUN_BY_CMD: Final = re.compile(r"\.(?:cmd|bat)", re.IGNORECASE)
_NOT_FOR_CMD: Final = re.compile(r'["%!&|<>^]')
"""What cmd may take for its own in an argument, however it is quoted."""
_NOT_FOR_OPENCODE: Final = re.compile(r"\{(?:env|file):")
"""What OpenCode replaces in its settings, wherever it stands."""
_OTHER_NAMES: Final = {"claude-code": "claude", "open_webui": "open-webui", "code": "vscode"}


@click.command(
    context_settings={"ignore_unknown_options": True},
    epilog=f"""\b
Examples:
  meshlight launch claude
  meshlight launch codex --model qwen3-coder -- exec "Explain this folder"
  meshlight launch opencode --config          keep the settings, after a look
  meshlight launch opencode --restore         take them out again
  meshlight launch zed --show                 what to set by hand

Apps: {_LISTED}.

Without --config the settings hold for this start alone, and nothing is written.""",
)
@click.argument("app", metavar="[APP]", required=False)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, metavar="[-- ARGUMENTS]")
@click.option("--model", default="", metavar="MODEL", help="The model to use.  [the best for the app]")
@click.option("--config", "writes", is_flag=True, help="Write the app's own settings file, with a backup.")
@click.option("--restore", "restores", is_flag=True, help="Undo --config.")
@click.option("--show", "shows", is_flag=True, help="Print what to set by hand, with the local key.")
@click.option("--yes", is_flag=True, help="Don't ask before the file is written.")
@start_option
@click.pass_context
def launch(
    ctx: click.Context,
    app: str | None,
    arguments: tuple[str, ...],
    model: str,
    *,
    writes: bool,
    restores: bool,
    shows: bool,
    yes: bool,
) -> None:
    """Start an app with Meshlight's settings, or set it up.

    Without APP, the apps are listed. Everything after -- is for the app itself.
    """
    if writes + restores + shows > 1:
        raise click.UsageError("Use one of --config, --restore and --show.")
    if app is None:
        _list()
        return
    found = _app(app)
    paths = Paths.here()
    files = AppSettings(paths.state_dir / "apps")
    if restores:
        click.echo(f"{files.restore(found)} is as it was before.")
        return
    with connect_or_start(asks=False) as client:
        listed = client.apps(model)
        url = client.runtime.url
    view = next((one for one in listed.apps if one.id == found.id), None)
    if view is None:
        raise NotFound(f"The running service does not know {found.name}.", "Restart it.")
    if shows or not (found.program or writes):
        _show(found, view, has_asked=shows)
        return
    if not view.model:
        raise NotFound("There is no model for chat yet.", "Get a first one with: meshlight setup")
    # With a model that was named, Claude Code asks for that one alone.
    access = Access(url=url, key=listed.key, model=view.model, context=view.context, has_claude=not model)
    if writes:
        _write(found, access, files, yes=yes)
        return
    ctx.exit(_start(found, access, arguments or found.arguments, view))


def _app(name: str) -> ClientApp:
    """Return the app with this id or name; raises BadRequest with the list."""
    typed = name.lower()
    typed = _OTHER_NAMES.get(typed, typed)
    for app in APPS.values():
        if typed in {app.id, app.name.lower()}:
            return app
    raise BadRequest(f"There is no app {sanitize(name)!r} in the list.", f"Known are {_LISTED}.")


def _list() -> None:
    """Print which apps there are, and which of them are on this machine."""
    columns = (Column(title="APP"), Column(title="WHAT IT IS", drop=1), Column(title="STATE"))
    rows = [[app.id, app.name, _state(app)] for app in APPS.values()]
    console = new_console()
    console.print(*lay_out(columns, rows, TerminalStyle.of(console).width), sep="\n")
    click.echo("\nStart one with: meshlight launch APP")
    click.echo("See what to set by hand with: meshlight launch APP --show")


def _state(app: ClientApp) -> str:
    if not app.program:
        return "is set up by hand"
    return "installed" if shutil.which(app.program) else "not installed"


def _show(app: ClientApp, view: AppView, *, has_asked: bool) -> None:
    if not has_asked:
        click.echo(f"{app.name} takes no settings for one start alone. Set it up by hand:\n", err=True)
    click.echo(f"# {view.place}", err=True)
    for line in view.text.splitlines():
        click.echo(_printable(line))
    for line in (view.note, f"See {view.docs}"):
        if line:
            click.echo(f"# {line}", err=True)


def _printable(line: str) -> str:
    """Return a line with its white space, without what could steer a terminal."""
    return "".join(letter for letter in line.replace("\t", "    ") if letter.isprintable())


def _write(app: ClientApp, access: Access, files: AppSettings, *, yes: bool) -> None:
    """Write the settings, after they were shown and agreed to."""
    check_model(app, access.model)
    settings = settings_for(app, access)
    if not settings:
        raise NotFound(
            f"{app.name} has no settings file that Meshlight can write.",
            f"Set it up by hand: meshlight launch {app.id} --show",
        )
    change = files.plan(app, settings)
    if change.before == change.after:
        click.echo(f"{change.file} has these settings already.")
        return
    for line in change.diff(access.key):
        click.echo(_printable(line))
    if access.key in change.after.decode():
        click.echo(f"{HIDDEN} is the local key. The file will be readable for you alone.")
    if not yes:
        click.confirm(f"Write {change.file}?", abort=True)
    try:
        files.write(app, change)
    except OSError as error:
        raise MeshlightError(write_error(error), "Make the folder writable for you.") from error
    click.echo(f"Written. To undo it: meshlight launch {app.id} --restore")
    if app.note:
        click.echo(app.note)


def check_model(app: ClientApp, model: str, program: str = "") -> None:
    """Raise BadRequest for a model's name that would be more than a name to the app, or to what starts `program`.

    Models of other machines have the names that those gave them. On Windows, npm installs apps as scripts of cmd.
    """
    is_by_cmd = app.id == "codex" and _RUN_BY_CMD.fullmatch(
        Path(program).suffix
    )  # which has it as an argument
    if (is_by_cmd and _NOT_FOR_CMD.search(model)) or (
        app.id == "opencode" and _NOT_FOR_OPENCODE.search(model)
    ):
        raise BadRequest(
            f"{app.name} can't be given the model {sanitize(model, 100)!r}: its name has characters that would do "
            "something there.",
            "Name another with --model, or give this one an alias.",
        )


@contextmanager
def _settings_file(app: ClientApp, access: Access, folder: Path) -> Iterator[list[str]]:
    """Write the settings that an app takes as a file, readable for us alone, while it runs; yield the arguments.

    What a launch that was killed has left in `folder` is removed.
    """
    found = private_settings(app, access)
    if found is None:
        yield []
        return
    argument, settings = found
    for old in folder.glob("*-*"):
        pid = old.name.partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            shutil.rmtree(old, ignore_errors=True)
    make_folder(folder)
    try:
        with tempfile.TemporaryDirectory(prefix=f"{os.getpid()}-", dir=folder) as own:  # of mode 0700
            file = Path(own) / "settings.json"
            write_atomic(file, json.dumps(settings).encode(), flush=False)
            yield [argument, str(file)]
    finally:
        with suppress(OSError):
            folder.rmdir()  # another launch may have its settings there


@contextmanager
def _signals_to(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Leave Ctrl-C to the app, which the terminal tells too; pass on what ends us, so that it ends first."""

    def pass_on(number: int, _: object) -> None:
        process.send_signal(number)

    handlers: dict[int, Callable[[int, object], None] | signal.Handlers] = {
        signal.SIGINT: signal.SIG_IGN,
        signal.SIGTERM: pass_on,
    }
    if sys.platform != "win32":
        handlers[signal.SIGHUP] = pass_on
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _start(app: ClientApp, access: Access, arguments: Sequence[str], view: AppView) -> int:
    """Run the app in this terminal; return its exit code."""
    program = shutil.which(app.program)
    if program is None:
        raise NotFound(
            f"{app.name} is not installed: there is no {app.program!r} on PATH.", f"Install it: {app.install}"
        )
    if Path(program).parent == Path():
        # Windows looks there first. What somebody else has put into a folder must not get the key.
        raise BadRequest(
            f"The {app.program!r} that would be started lies in this folder, {Path.cwd()}.",
            "Start it from another folder, or put this one on PATH by its whole name.",
        )
    check_model(app, access.model, program)
    variables = variables_for(app, access)
    # The key goes by the environment: a command line can be read by every user of this machine.
    environ = {n: v for n, v in environment(variables.values).items() if n not in variables.unset}
    uses = "its own names of Claude models" if access.keeps_claude_names else sanitize(access.model)
    click.echo(f"{app.name} uses {uses}, by Meshlight at {access.url}.", err=True)
    if view.note:
        click.echo(view.note, err=True)
    with _settings_file(app, access, Paths.here().state_dir / "launched") as more:
        command = [program, *more, *arguments_for(app, access), *arguments]
        try:
            process = subprocess.Popen(command, env=environ)  # noqa: S603 - the program that the user named
        except OSError as error:
            raise MeshlightError(
                f"{app.name} can't be started: {error.strerror}.", f"Try: {program} --version"
            ) from error
        with _signals_to(process):
            code = process.wait()
    return code if code >= 0 or sys.platform == "win32" else 128 - code
