"""Words that give other programs, and the browser, the way in: key, env, open."""

import os
import sys
import webbrowser
from typing import Literal, get_args

import click

from meshlight.desktop.door import read_runtime
from meshlight.domain.config import DEFAULT_PORT, HOST
from meshlight.domain.errors import ServiceError
from meshlight.store.key import LocalKey
from meshlight.store.places import Places
from meshlight.words.entry import service

Shell = Literal["sh", "fish", "powershell"]
_LINES: dict[Shell, str] = {
    "sh": "export {name}='{value}'",
    "fish": "set -gx {name} '{value}'",
    "powershell": "$env:{name} = '{value}'",
}
_USE: dict[Shell, str] = {
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
    """Print the local key, which apps give as their API key.

    It opens this machine's Meshlight and nothing else; it is not the key of any provider.
    """
    click.echo(_local_key())


@click.command(
    epilog="""\b
Examples:
  eval "$(meshlight env)"                                 sh, bash, zsh
  meshlight env | source                                  fish
  meshlight env | Out-String | Invoke-Expression          PowerShell"""
)
@click.option(
    "--shell", type=click.Choice(get_args(Shell)), help="For which shell.  [the one you seem to use]"
)
def env(shell: Shell | None) -> None:
    """Print the variables that point apps to Meshlight.

    OpenAI's, Anthropic's and Ollama's own clients, and most apps built on them, read these variables.
    """
    places = Places.here()
    try:
        url = read_runtime(places.runtime_file).url
    except ServiceError as error:
        url = f"http://{HOST}:{DEFAULT_PORT}"
        click.echo(f"{error.title} {error.hint}", err=True)
    shell = shell or _usual_shell()
    local_key = _local_key()
    click.echo(f"# Use it with: {_USE[shell]}")
    for name, value in (
        ("OPENAI_BASE_URL", f"{url}/v1"),
        ("OPENAI_API_KEY", local_key),
        ("ANTHROPIC_BASE_URL", url),
        ("ANTHROPIC_AUTH_TOKEN", local_key),
        ("OLLAMA_HOST", url),
    ):
        click.echo(_LINES[shell].format(name=name, value=value))


@click.command(
    name="open",
    epilog="""\b
Examples:
  meshlight open
  meshlight open --print""",
)
@click.option("--print", "only_print", is_flag=True, help="Print the link instead of opening it.")
def open_(*, only_print: bool) -> None:
    """Open the mesh page in the browser.

    The link works once, within a minute; the browser then stays logged in.
    """
    with service() as mesh:
        link = mesh.one_time_link()
    if not only_print and _has_screen() and webbrowser.open(link):
        click.echo("The mesh page opens in your browser. If it doesn't: meshlight open --print")
        return
    if not only_print:
        click.echo("No browser to open here. Open this link within a minute:", err=True)
    click.echo(link)


def _local_key() -> str:
    return LocalKey.open(Places.here().key_file).reveal()


def _usual_shell() -> Shell:
    if sys.platform == "win32":
        return "powershell"
    return "fish" if os.environ.get("SHELL", "").endswith("fish") else "sh"


def _has_screen() -> bool:
    """Whether a browser would be a window: without a display it could be one that takes the terminal."""
    if sys.platform in {"win32", "darwin"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
