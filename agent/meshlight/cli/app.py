"""The words a person types, in order: which there are, what each does in a line, where it is written.

A word's file is loaded when that word is used: `meshlight serve` lives for weeks and must not carry the
tables, progress bars and HTTP client of the other words in its memory.
"""

import io
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from platform import python_version
from typing import Final

import click
from msgspec import Struct

from meshlight import __version__
from meshlight.domain.errors import MeshlightError, ServiceError
from meshlight.domain.private_variables import remove_private
from meshlight.domain.text import sanitize

NOT_RUNNING = 4
FAILED = 1


class Command(Struct, frozen=True):
    """One word: the file under `commands` and the name in it, and what it does in a line."""

    place: str
    says: str


SECTIONS: Final[dict[str, dict[str, Command]]] = {
    "Run": {
        "tray": Command("tray:tray", "Show the icon in the tray; what Meshlight does without a word."),
        "serve": Command("serve:serve", "Run the service in this terminal."),
        "demo": Command("demo:demo", "Try everything on little servers that play real ones."),
    },
    "Look": {
        "status": Command("status:status", "How the mesh is doing, on one screen."),
        "refresh": Command("status:refresh", "Check every backend now, then show the status."),
        "models": Command("status:models", "Every model that can be reached, and who serves it."),
        "route": Command("status:route", "Which backend would answer for a model, and why."),
        "test": Command("status:test", "Send a few small real requests; show who answered, how fast."),
        "open": Command("env:open_", "Open the mesh, in a window or in the browser."),
        "window": Command("window:window", "Show the mesh in a window of its own."),
    },
    "Change": {
        "backends": Command("backends:backends", "List, add, change, remove, check and switch backends."),
        "link": Command("link:link", "Open the dialog that a meshlight:// link fills in."),
        "secrets": Command("secrets:secrets", "Keep, list and remove the API keys of backends."),
    },
    "Other machines": {
        "peers": Command("peers:peers", "Other Meshlights: who is paired, who is seen, what each may use."),
        "pair": Command("pairing:pair", "Pair this machine with another Meshlight."),
        "unpair": Command("pairing:unpair", "End a pairing."),
    },
    "Use from apps": {
        "env": Command("env:env", "Print the variables that point apps to Meshlight."),
        "key": Command("env:key", "Print the local key, which apps give as their API key."),
    },
    "Mend": {
        "doctor": Command("doctor:doctor", "What is wrong on this machine, and how to mend it."),
        "version": Command("version", "Print the version."),
    },
}
COMMANDS: Final = {name: word for section in SECTIONS.values() for name, word in section.items()}


class CommandGroup(click.Group):
    """The group of all words: shows them in sections, loads each when it is used, tells errors in a line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Return all words in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load a word."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in COMMANDS:
            return own
        module, _, name = COMMANDS[cmd_name].place.partition(":")
        command = getattr(import_module(f"meshlight.cli.{module}"), name)
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the word that was typed, or say which was meant."""
        typed = args[0]
        if self.get_command(ctx, typed) is None and not typed.startswith("-"):
            near = get_close_matches(typed, COMMANDS, n=1)
            meant = f" Did you mean {near[0]!r}?" if near else ""
            ctx.fail(f"No such word: {typed!r}.{meant}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the words in their sections, without loading any."""
        widest = max(map(len, COMMANDS))
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(widest), word.says) for name, word in section.items()])

    def invoke(self, ctx: click.Context) -> object:
        """Run a word; an error of ours becomes a clear line and an exit code."""
        try:
            return super().invoke(ctx)
        except MeshlightError as error:
            click.echo(f"Error: {sanitize(error.title)}", err=True)
            if error.hint:
                click.echo(sanitize(error.hint), err=True)
            ctx.exit(NOT_RUNNING if isinstance(error, ServiceError) else FAILED)


@click.group(
    cls=CommandGroup,
    invoke_without_command=True,
    epilog="Begin with `meshlight`, then `meshlight status`; each word has its own --help.",
)
@click.version_option(__version__, prog_name="meshlight", message="%(prog)s %(version)s")
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Every language model you can reach, behind one local OpenAI-compatible address.

    Without a word, Meshlight shows its icon in the tray; where there is none, it runs in this terminal.
    """
    if ctx.invoked_subcommand is None:
        tray = commands.get_command(ctx, "tray")
        if tray is not None:
            ctx.invoke(tray)


@commands.command(epilog="\b\nExample:\n  meshlight version")
def version() -> None:
    """Print the version, with those of what it stands on."""
    click.echo(f"meshlight {__version__} (Python {python_version()}, {sys.platform})")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the words of the command line."""
    remove_private()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal or pipe that can't show a letter shows "?" instead of a stack trace.
            stream.reconfigure(errors="replace")
    commands.main(args=arguments, prog_name="meshlight")
