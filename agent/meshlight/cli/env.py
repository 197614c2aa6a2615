"""The commands that give apps and people access: `key`, `env`, `open`."""

import os
import sys
from typing import Literal, get_args

import click

from meshlight.api_client.client import read_runtime
from meshlight.cli.service_client import connect_service
from meshlight.desktop.system.instance_signal import signal_instance
from meshlight.desktop.system.process import program, start_detached
from meshlight.desktop.system.screen import has_screen
from meshlight.desktop.window.launcher import INSTANCE_SOCKET
from meshlight.domain.config import DEFAULT_PORT, HOST
from meshlight.domain.errors import ServiceError
from meshlight.storage.local_key import LocalKey
from meshlight.storage.paths import Paths

Shell = Literal["sh", "fish", "powershell"]
_EXPORT_LINES: dict[Shell, str] = {
    "sh": "export {name}='{value}'",
    "fish": "set -gx {name} '{value}'",
    "powershell": "$env:{name} = '{value}'",
}
_USAGE: dict[Shell, str] = {
    "sh": 'eval "$(meshlight env)"',
    "fish": "meshlight env | source",
    "powershell": "meshlight env | Out-String | Invoke-Expression",
}


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
  meshlight env | source                                  fish
  meshlight env | Out-String | Invoke-Expression          PowerShell"""
)
@click.option("--shell", type=click.Choice(get_args(Shell)), help="The shell to print for.  [detected]")
def env(shell: Shell | None) -> None:
    """Print the environment variables for apps.

    The clients of OpenAI, Anthropic and Ollama, and most apps that use them, read these variables.
    """
    paths = Paths.here()
    try:
        url = read_runtime(paths.runtime_file).url
    except ServiceError as error:
        url = f"http://{HOST}:{DEFAULT_PORT}"
        click.echo(f"{error.title} {error.hint}", err=True)
    shell = shell or usual_shell()
    click.echo(f"# Use it with: {_USAGE[shell]}")
    click.echo(environment(url, _local_key(), shell))


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
def open_(*, browser: bool, only_print: bool) -> None:
    """Open the mesh page in a window or the browser.

    If this machine can't show a window, the page opens in the browser. The link works once, within a minute; the
    browser then stays signed in.
    """
    if only_print:
        with connect_service() as client:
            click.echo(client.one_time_link())
        return
    if browser or not has_screen():
        from meshlight.cli.window import open_in_browser  # noqa: PLC0415 -- not for `key` and `env`

        open_in_browser(Paths.here())
        return
    with connect_service():  # fails here, where the user sees the error
        pass
    if signal_instance(Paths.here().state_dir, INSTANCE_SOCKET):
        click.echo("The mesh window comes to the front.")
        return
    start_detached(program("window"))
    click.echo("The mesh window opens. If it doesn't: meshlight open --browser")


def environment(url: str, local_key: str, shell: Shell) -> str:
    """Return the lines that set the variables for apps to the service at `url`, in the syntax of a shell."""
    return "\n".join(
        _EXPORT_LINES[shell].format(name=name, value=value)
        for name, value in (
            ("OPENAI_BASE_URL", f"{url}/v1"),
            ("OPENAI_API_KEY", local_key),
            ("ANTHROPIC_BASE_URL", url),
            ("ANTHROPIC_AUTH_TOKEN", local_key),
            ("OLLAMA_HOST", url),
            ("OLLAMA_API_KEY", local_key),
        )
    )


def usual_shell() -> Shell:
    """Return the shell that this user probably uses."""
    if sys.platform == "win32":
        return "powershell"
    return "fish" if os.environ.get("SHELL", "").endswith("fish") else "sh"


def _local_key() -> str:
    paths = Paths.here()
    paths.check()
    return LocalKey.open(paths.key_file).reveal()
