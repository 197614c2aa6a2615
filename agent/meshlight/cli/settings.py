"""The commands `meshlight settings` and `meshlight settings set`: what the page's settings have, in a terminal."""

from collections.abc import Mapping
from typing import Any, Final, Literal, get_args

import click
from msgspec import Struct, to_builtins

from meshlight.api_client.client import ApiClient
from meshlight.cli.output.console import TerminalStyle, new_console
from meshlight.cli.output.table import Column, lay_out
from meshlight.cli.service_client import print_json
from meshlight.cli.start import connect_or_start, start_option
from meshlight.domain.backend import RINGS
from meshlight.domain.config import KeyStorage
from meshlight.domain.errors import BadRequest
from meshlight.domain.rules import Policy
from meshlight.domain.text import cut, sanitize, similar_names

ON: Final = ("on", "true", "yes", "1")
OFF: Final = ("off", "false", "no", "0")
NONE: Final = "none"


class Setting(Struct, frozen=True, kw_only=True):
    """One setting: its path in the API, and what it may be."""

    path: str
    about: str
    kind: Literal["text", "switch", "choice", "list"] = "switch"
    choices: tuple[str, ...] = ()


SETTINGS: Final[Mapping[str, Setting]] = {
    "name": Setting(path="name", about="What other machines call this one.", kind="text"),
    "visible": Setting(path="lan.visible", about="Others on this network see it, and can ask to pair."),
    "browse": Setting(path="lan.browse", about="It looks for others on this network."),
    "notifications": Setting(path="notifications", about="The tray tells when a backend goes down."),
    "require_key": Setting(path="require_key", about="Apps have to show a key."),
    "key_storage": Setting(
        path="key_storage",
        about="Where keys of clouds and servers are kept.",
        kind="choice",
        choices=get_args(KeyStorage),
    ),
    "bound": Setting(
        path="routing.bound", about="No prompt goes beyond this ring.", kind="choice", choices=(*RINGS, NONE)
    ),
    "policy": Setting(
        path="routing.policy", about="Which route goes first.", kind="choice", choices=get_args(Policy)
    ),
    "models": Setting(path="local.enabled", about="Meshlight runs models of this machine."),
    "folders": Setting(
        path="local.folders", about="Further folders with models; several values.", kind="list"
    ),
    "keep_history": Setting(path="keep_history", about="The last hour of each backend is remembered."),
    "check_updates": Setting(path="check_updates", about="The list of releases is read once a day."),
    "paused": Setting(path="paused", about="Requests are refused."),
}


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  meshlight settings
  meshlight settings set name "Bo's Mac"
  meshlight settings set bound lan

`meshlight login` is about start at login.""",
)
@click.option("--json", "as_json", is_flag=True, help="Print all settings as JSON.")
@start_option
@click.pass_context
def settings(ctx: click.Context, *, as_json: bool) -> None:
    """Show and change the settings.

    They are those of the page; rules, aliases and backends have commands of their own, or the configuration file.
    """
    if ctx.invoked_subcommand is not None:
        return
    with connect_or_start() as client:
        current = to_builtins(client.settings())
    if as_json:
        print_json(current)
        return
    columns = (
        Column(title="SETTING"),
        Column(title="VALUE", min_width=8),
        Column(title="WHAT IT DOES", min_width=20, drop=1, fit=cut),
    )
    rows = [[name, _shown(_value(current, one.path)), one.about] for name, one in SETTINGS.items()]
    console = new_console()
    console.print(*lay_out(columns, rows, TerminalStyle.of(console).width), sep="\n")
    if update := current["update"]:
        click.echo(f"\nVersion {sanitize(update['version'])} is out. {sanitize(update['url'])}".rstrip())


@settings.command(
    name="set",
    epilog="""\b
Examples:
  meshlight settings set visible on
  meshlight settings set key_storage file
  meshlight settings set bound none
  meshlight settings set folders ~/models /data/models""",
)
@click.argument("name")
@click.argument("values", metavar="VALUE...", nargs=-1)
@start_option
def set_(name: str, values: tuple[str, ...]) -> None:
    """Change the setting NAME; it holds at once."""
    found = SETTINGS.get(name)
    if found is None:
        close = similar_names(name, tuple(SETTINGS))
        hint = f"Did you mean {' or '.join(close)}?" if close else f"There are {', '.join(SETTINGS)}."
        raise BadRequest(f"There is no setting {name!r}.", hint)
    value = parse_value(name, found, values)
    with connect_or_start() as client:
        current = change(client, found, value)
    click.echo(f"{name}: {_shown(_value(current, found.path))}")


def change(client: ApiClient, setting: Setting, value: object) -> dict[str, Any]:
    """Change one setting, and return all of them."""
    body = value
    for key in reversed(setting.path.split(".")):
        body = {key: body}
    changed: dict[str, Any] = to_builtins(client.change_settings(body))  # type: ignore[arg-type]  # a dict by now
    return changed


def parse_value(name: str, setting: Setting, values: tuple[str, ...]) -> object:
    """Return what was typed as the API takes it; raises BadRequest for what the setting can't be."""
    if setting.kind == "list":
        return [] if values == (NONE,) else list(values)
    if len(values) != 1:
        may_be = "VALUE" if setting.kind == "text" else "|".join(setting.choices or ("on", "off"))
        raise BadRequest(f"{name} takes one value.", f"Type: meshlight settings set {name} {may_be}")
    [value] = values
    if setting.kind == "text":
        return value
    if setting.kind == "choice":
        if value not in setting.choices:
            raise BadRequest(f"{name} can't be {value!r}.", f"Use one of {', '.join(setting.choices)}.")
        return None if value == NONE else value
    if value.casefold() not in (*ON, *OFF):
        raise BadRequest(f"{name} can't be {value!r}.", "Use on or off.")
    return value.casefold() in ON


def _value(current: Any, path: str) -> object:
    for key in path.split("."):
        current = current[key]
    return current


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or NONE
    return NONE if value is None else str(value)
