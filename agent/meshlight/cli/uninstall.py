"""The command `meshlight uninstall`, which removes what Meshlight has made outside of its own program."""

import asyncio
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import click
from platformdirs import PlatformDirs

from meshlight.cli.app_settings import AppSettings
from meshlight.cli.desktop import switch_entries
from meshlight.cli.doctor_checks import check_config
from meshlight.cli.quit import end_all
from meshlight.desktop.system.files_made import remove_empty
from meshlight.desktop.system.login import entry_here, unit_here
from meshlight.domain.client_apps import APPS
from meshlight.domain.errors import BadRequest, MeshlightError, SecretError
from meshlight.domain.text import write_error
from meshlight.storage.node_identity import OWNER
from meshlight.storage.paths import Paths
from meshlight.storage.secrets.store import Secrets


@click.command(
    epilog="""\b
Examples:
  meshlight uninstall
  meshlight uninstall --all --yes

The program itself is then removed as it was installed; the last line says how."""
)
@click.option(
    "--all", "everything", is_flag=True, help="Also settings, state, logs and the API keys in the keyring."
)
@click.option("--yes", is_flag=True, help="With --all: don't ask.")
@click.pass_context
def uninstall(ctx: click.Context, *, everything: bool, yes: bool) -> None:
    """Remove what Meshlight has made on this machine: start at login, menu entry, icons, links.

    What runs is ended first. Your settings and keys stay, unless you add --all.
    """
    paths = Paths.here()
    if everything and os.environ.get("MESHLIGHT_HOME"):
        raise BadRequest(
            "MESHLIGHT_HOME is set here: its folder may have files of others.",
            f"Remove {paths.state_dir} yourself, or unset MESHLIGHT_HOME.",
        )
    if everything and not yes:
        if not sys.stdin.isatty():
            raise BadRequest("Nobody can be asked here whether to remove all of it.", "Add --yes.")
        click.confirm(
            "Remove your settings, the keys of all backends, pairings and logs as well?", abort=True
        )
    try:
        lines, problems = remove_all(paths, everything=everything)
    except OSError as error:
        raise MeshlightError(write_error(error), "Make the folder writable for you.") from error
    for line in lines:
        click.echo(line)
    for problem in problems:
        click.echo(f"Error: {problem}", err=True)
    if not lines:
        click.echo("There was nothing to remove.")
    click.echo(f"The program itself stays. Remove it with: {how_to_remove(Path(sys.prefix))}")
    ctx.exit(1 if problems else 0)


def remove_all(
    paths: Paths, *, everything: bool, end: Callable[[Paths], list[str]] = end_all
) -> tuple[list[str], list[str]]:
    """Remove what was made; returns one line for each thing removed, and one for each that could not be."""
    lines = [f"Ended the {name}" for name in end(paths)]
    entry, unit = entry_here(), unit_here()
    if entry is not None and entry.is_on:
        entry.switch(on=False)
        lines.append("Removed the start at login")
    if unit is not None and unit.is_on:
        unit.switch(on=False)
        lines.append("Removed the start of the service at login")
    lines += [f"Removed {file}" for file in switch_entries(on=False)]
    problems: list[str] = []
    if everything:
        restored, changed = _restore_apps(paths)
        lines += [f"Took Meshlight's settings out of {file}" for file in restored]
        removed, problems = asyncio.run(_remove_secrets(paths))
        problems += changed
        lines += [f"Removed the API key of {name} from the keyring" for name in removed]
        lines += [f"Removed {folder}" for folder in _remove_folders()]
    return lines, problems


def _restore_apps(paths: Paths) -> tuple[list[Path], list[str]]:
    """Undo what `launch --config` wrote; returns the files, and what could not be undone."""
    files = AppSettings(paths.state_dir / "apps")
    restored, problems = [], []
    for app in APPS.values():
        if files.is_written(app):
            try:
                restored.append(files.restore(app))
            except MeshlightError as error:
                problems.append(f"{error.title} Take Meshlight's lines out of it yourself.")
    return restored, problems


async def _remove_secrets(paths: Paths) -> tuple[list[str], list[str]]:
    """Remove the keys of all backends and this node's own; returns whose were removed, and what failed."""
    _, config = check_config(paths)
    removed, problems = [], []
    secrets = Secrets.without_service(paths.secrets_file, config.key_storage)
    ids = [backend.id for backend in config.backends if backend.has_secret]
    for id_ in (*ids, *([OWNER] if (paths.state_dir / "peers").is_dir() else [])):
        try:
            if await secrets.remove(id_):
                removed.append("this machine (for paired ones)" if id_ == OWNER else id_)
        except SecretError as error:
            problems.append(f"{error.title} Remove it yourself in the keyring, service 'meshlight'.")
    return removed, problems


def _remove_folders() -> Iterator[Path]:
    """Remove each folder of this user that is named after us, and yield it."""
    system = PlatformDirs("meshlight", appauthor=False)
    folders = (
        system.user_config_path,
        system.user_log_path,
        system.user_state_path,
        system.user_cache_path,
        system.user_data_path,
    )
    for folder in dict.fromkeys(folders):
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder)
            yield folder
        remove_empty(folder.parent, Path.home())


def how_to_remove(prefix: Path) -> str:
    """Return the command that removes the program installed below `prefix`."""
    parts = prefix.parts
    if parts[-2:] == ("opt", "meshlight"):
        return (
            "sudo dnf remove meshlight"
            if Path("/etc/fedora-release").exists()
            else "sudo apt remove meshlight"
        )
    if "uv" in parts and "tools" in parts:
        return "uv tool uninstall meshlight"
    if "pipx" in parts:
        return "pipx uninstall meshlight"
    if (prefix.parent / "uninstall.exe").is_file():
        return "Settings, Apps, Meshlight, Uninstall"
    if any(part.endswith(".app") for part in parts):
        return "move Meshlight.app to the Trash"
    return f"{Path(sys.executable).name} -m pip uninstall meshlight"
