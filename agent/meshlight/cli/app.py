"""The command line: the list of all commands with a summary of each, run by `meshlight.cli.entry`.

The module of a command is imported only when the command is used: `meshlight serve` runs for weeks and should not
hold the tables, progress bars and HTTP client of the other commands in memory.
"""

import sys
from importlib import import_module
from platform import python_version
from typing import Final

import click
from msgspec import Struct

from meshlight import __version__
from meshlight.domain.errors import MeshlightError, ServiceError
from meshlight.domain.text import sanitize

NOT_RUNNING = 4
FAILED = 1


class Command(Struct, frozen=True):
    """A command: its module in `meshlight.cli` and its name there (`module:name`), and a one-line summary."""

    target: str
    summary: str


SECTIONS: Final[dict[str, dict[str, Command]]] = {
    "Run": {
        "setup": Command("setup:setup", "Get to a first answer, step by step."),
        "tray": Command("tray:tray", "Show the icon in the tray; the default command."),
        "serve": Command("serve:serve", "Run the service in this terminal."),
        "desktop": Command("desktop:desktop", "Start as the menu of applications does, or be in it."),
        "quit": Command("quit:quit_", "End the tray, the window and the service."),
        "demo": Command("demo:demo", "Try everything with simulated backends."),
    },
    "Inspect": {
        "status": Command("status:status", "Show the state of the mesh and its backends."),
        "refresh": Command("status:refresh", "Check every backend now, then show the status."),
        "models": Command("models:models", "List every model, and manage those of this machine."),
        "route": Command("status:route", "Show which backend would answer for a model."),
        "test": Command("status:test", "Send a few small real requests and measure them."),
        "open": Command("env:open_", "Open the mesh page in a window or the browser."),
        "window": Command("window:window", "Show the mesh page in a window."),
    },
    "Configure": {
        "backends": Command("backends:backends", "List, add, change, remove and check backends."),
        "link": Command("link:link", "Open a meshlight:// link."),
        "login": Command("login:login", "Start Meshlight at login, or stop doing so."),
        "settings": Command("settings:settings", "Show and change the settings."),
        "secrets": Command("secrets:secrets", "List, set and remove the API keys of backends."),
    },
    "Other machines": {
        "peers": Command("peers:peers", "Show paired and discovered machines, and share models."),
        "pair": Command("pairing:pair", "Pair this machine with another Meshlight."),
        "unpair": Command("pairing:unpair", "End a pairing."),
    },
    "Use from apps": {
        "chat": Command("chat:chat", "Ask a model from the terminal."),
        "launch": Command("launch:launch", "Start an app with Meshlight's settings, or set it up."),
        "env": Command("env:env", "Print the environment variables for apps."),
        "key": Command("env:key", "Print the local key, which apps use as API key."),
    },
    "Troubleshoot": {
        "doctor": Command("doctor:doctor", "Find problems on this machine, and how to fix them."),
        "selftest": Command("selftest:selftest", "Check that this installation works."),
        "uninstall": Command("uninstall:uninstall", "Remove what Meshlight has made on this machine."),
        "version": Command("version", "Print the version."),
    },
}
COMMANDS: Final = {name: command for section in SECTIONS.values() for name, command in section.items()}


class CommandGroup(click.Group):
    """The group of all commands: lists them in sections, imports each on use, prints errors as one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click's signature
        """Return the names of all commands in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in COMMANDS:
            return own
        module, _, name = COMMANDS[cmd_name].target.partition(":")
        command = getattr(import_module(f"meshlight.cli.{module}"), name)
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed, or suggest a similar one."""
        typed = args[0]
        if self.get_command(ctx, typed) is None and not typed.startswith("-"):
            from difflib import get_close_matches  # noqa: PLC0415 - for an error message alone

            similar = get_close_matches(typed, COMMANDS, n=1)
            suggestion = f" Did you mean {similar[0]!r}?" if similar else ""
            ctx.fail(f"No such command: {typed!r}.{suggestion}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the commands in their sections, without importing any."""
        widest = max(map(len, COMMANDS))
        for title, section in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl(
                    [(name.ljust(widest), command.summary) for name, command in section.items()]
                )

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; a MeshlightError becomes a message, a hint and an exit code."""
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
    epilog="Each command has its own --help.",
)
@click.version_option(__version__, prog_name="meshlight", message="%(prog)s %(version)s")
@click.pass_context
def commands(ctx: click.Context) -> None:
    """Every language model you can reach, behind one local OpenAI-compatible address.

    Begin with `meshlight`, or in a terminal with `meshlight setup`.

    Without a command, Meshlight shows its icon in the tray. Where there is no tray, it runs in this terminal.
    """
    if ctx.invoked_subcommand is None:
        tray = commands.get_command(ctx, "tray")
        if tray is not None:
            ctx.invoke(tray)


@commands.command(epilog="\b\nExample:\n  meshlight version")
def version() -> None:
    """Print the version, with those of Python and the system."""
    click.echo(f"meshlight {__version__} (Python {python_version()}, {sys.platform})")
