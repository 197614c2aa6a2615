"""The commands that give apps and people access: `key`, `env`, `open`."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Literal, get_args

import click

from meshlight.api_client.client import read_runtime
from meshlight.cli.service_client import connect_service
from meshlight.cli.start import connect_or_start, start_option
from meshlight.desktop.system.instance_signal import signal_instance
from meshlight.desktop.system.process import program, start_detached
from meshlight.desktop.system.screen import has_screen
from meshlight.desktop.window.launcher import INSTANCE_SOCKET
from meshlight.domain.app_recipes import (
    Variables,
    anthropic_variables,
    ollama_variables,
    openai_variables,
)
from meshlight.domain.config import DEFAULT_PORT, HOST
from meshlight.domain.errors import MeshlightError, ServiceError
from meshlight.domain.shell_lines import Shell, remark, shell_lines
from meshlight.storage.local_key import LocalKey
from meshlight.storage.paths import Paths

Family = Literal["openai", "anthropic", "ollama"]
USUAL_FAMILIES: Final[tuple[Family, ...]] = ("openai", "anthropic")
"""Ollama's variables are for those who ask for them: the user's own `ollama` would use Meshlight, too."""
_USAGE: Final[dict[Shell, str]] = {
    "sh": 'eval "$({})"',
    "fish": "{} | source",
    "powershell": "{} | Out-String | Invoke-Expression",
    "cmd": "for /f \"delims=\" %i in ('{}') do @%i",
}
_SHELLS: Final[dict[str, Shell]] = {
    **dict.fromkeys(("sh", "dash", "bash", "zsh", "ksh", "ash"), "sh"),
    "fish": "fish",
    **dict.fromkeys(("powershell", "pwsh"), "powershell"),
    "cmd": "cmd",
}
_PARENTS: Final = 4
"""How many parents are looked at for a shell: a launcher, perhaps two, may stand between."""


@click.command(
    epilog="""\b
Examples:
  meshlight key
  curl -H "Authorization: Bearer $(meshlight key)" 127.0.0.1:6374/v1/models"""
)
def key() -> None:
    """Print the local key, which apps use as API key.

    It gives access to this machine's Meshlight only; it is not the key of a provider.
    """
    click.echo(_local_key())


@click.command(
    epilog="""\b
Examples:
  eval "$(meshlight env)"                                 sh, bash, zsh
  eval "$(meshlight env anthropic)"                       for Claude Code
  meshlight env | source                                  fish
  meshlight env | Out-String | Invoke-Expression          PowerShell
  for /f "delims=" %i in ('meshlight env') do @%i         cmd

\b
Claude Code asks for Claude models. Where there are none, its variables name
the best model of the mesh instead. `ollama` sets OLLAMA_HOST: then your own
`ollama` uses Meshlight, too."""
)
@click.argument("family", type=click.Choice(get_args(Family)), required=False)
@click.option(
    "--model", default="", metavar="MODEL", help="The model for Claude Code.  [the best, if needed]"
)
@click.option(
    "--shell",
    "shell_name",
    type=click.Choice(tuple(_SHELLS)),
    metavar="SHELL",
    help="The shell to print for: sh, bash, zsh, fish, powershell or cmd.  [detected]",
)
def env(family: Family | None, model: str, shell_name: str | None) -> None:
    """Print the environment variables for apps.

    The clients of OpenAI and Anthropic, and most apps that use them, read these variables; with `ollama`, those of
    Ollama do.
    """
    paths = Paths.here()
    try:
        url = read_runtime(paths.runtime_file).url
    except ServiceError as error:
        url = f"http://{HOST}:{DEFAULT_PORT}"
        click.echo(f"{error.title} {error.hint}", err=True)
    families = USUAL_FAMILIES if family is None else (family,)
    if "anthropic" in families and not model:
        model = _model_for_claude()
    local_key = _local_key()
    shell = _SHELLS[shell_name] if shell_name else usual_shell()
    typed = " ".join(("meshlight env", *([family] if family else ())))
    click.echo(remark(f"Use it with: {_USAGE[shell].format(typed)}", shell))
    click.echo(environment(url, local_key, shell, families, model))


@click.command(
    name="open",
    epilog="""\b
Examples:
  meshlight open
  meshlight open --browser
  meshlight open --print""",
)
@click.option("--browser", is_flag=True, help="Open it in the browser instead of a window.")
@click.option("--print", "only_print", is_flag=True, help="Print the link instead of opening it.")
@start_option
def open_(*, browser: bool, only_print: bool) -> None:
    """Open the mesh page in a window or the browser.

    If this machine can't show a window, the page opens in the browser. The link works once, within a minute; the
    browser then stays signed in.
    """
    with connect_or_start(asks=False) as client:  # fails here, where the user sees the error
        if only_print:
            click.echo(client.one_time_link())
            return
    if browser or not has_screen():
        from meshlight.cli.window import open_in_browser  # noqa: PLC0415 -- not for `key` and `env`

        open_in_browser(Paths.here())
        return
    if signal_instance(Paths.here().state_dir, INSTANCE_SOCKET):
        click.echo("The mesh window comes to the front.")
        return
    start_detached(program("window", windowed=True))
    click.echo("The mesh window opens. If it doesn't: meshlight open --browser")


def environment(
    url: str, local_key: str, shell: Shell, families: Sequence[Family] = USUAL_FAMILIES, model: str = ""
) -> str:
    """Return the lines that set the variables for apps to the service at `url`, in the syntax of a shell.

    With a model, it stands for all of Anthropic's.
    """
    made: dict[Family, Variables] = {
        "openai": openai_variables(url, local_key),
        "anthropic": anthropic_variables(url, local_key, model),
        "ollama": ollama_variables(url, local_key),
    }
    return "\n".join(
        line for one in families for line in shell_lines(made[one].values, made[one].unset, shell)
    )


def _parents() -> list[str]:
    """Return the names of the processes that started this one, the nearest first."""
    import psutil  # noqa: PLC0415 - not for `key` and `open`

    with suppress(psutil.Error):
        return [parent.name() for parent in psutil.Process().parents()[:_PARENTS]]
    return []


def usual_shell(
    parents: Callable[[], Sequence[str]] = _parents, environ: Mapping[str, str] = os.environ
) -> Shell:
    """Return the shell that this user probably uses: the nearest parent that is one, else the usual one."""
    for name in parents():
        if shell := _SHELLS.get(name.lower().removesuffix(".exe").lstrip("-")):
            return shell
    if sys.platform == "win32":
        return "powershell"
    return "fish" if environ.get("SHELL", "").endswith("fish") else "sh"


def _model_for_claude() -> str:
    """Return the model that stands for Anthropic's; "" where the mesh has some of those, or can't be asked."""
    with suppress(MeshlightError), connect_service() as client:
        found = next((app for app in client.apps().apps if app.id == "claude"), None)
        return "" if found is None or found.model.startswith("claude-") else found.model
    return ""


def _local_key() -> str:
    paths = Paths.here()
    paths.check()
    return LocalKey.open(paths.key_file).reveal()
