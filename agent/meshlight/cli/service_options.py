"""The options of all commands that run the service."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

CommandFunction = TypeVar("CommandFunction", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--port", type=click.IntRange(0, 65535), help="Port on 127.0.0.1; 0 means any free one. [6374]"
    ),
    click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Configuration file, instead of the default one.",
    ),
    click.option(
        "--insecure-storage",
        is_flag=True,
        help="Store API keys in a plain file (mode 0600) if there is no keyring.",
    ),
    click.option("--no-discovery", is_flag=True, help="Don't search for engines on this machine."),
)


def service_options(command: CommandFunction) -> CommandFunction:
    """Add --port, --config, --insecure-storage and --no-discovery to a command, in this order."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
