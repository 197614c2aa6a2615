"""The commands `backends add`, `backends set` and `backends kinds`.

At a terminal, they prompt for the fields that the kind of backend needs; in a script, a missing one is an error.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import click
from msgspec import to_builtins
from msgspec.structs import replace
from rich.console import Console

from meshlight.backends.base import NOT_ADDED, BackendKind, Field
from meshlight.backends.field_checks import check_field
from meshlight.backends.kinds import KINDS, kind_of
from meshlight.cli.key_storage import with_storage
from meshlight.cli.output.console import TerminalStyle, glyph_of, new_console
from meshlight.cli.output.status import message_lines
from meshlight.cli.output.table import Column, lay_out
from meshlight.cli.prompts import NEEDED, ask_text
from meshlight.cli.service_client import pick_backend, print_json
from meshlight.cli.start import connect_or_start, start_option
from meshlight.domain.api_types import BackendView
from meshlight.domain.backend import RINGS, SLOTS_MAX
from meshlight.domain.errors import BackendCheckFailed, BadRequest
from meshlight.domain.text import count, cut

_SECONDS = click.FloatRange(min=0, max=86_400, min_open=True)
_FILE = click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path)

_PROXY_HELP = "env (HTTPS_PROXY, NO_PROXY), none, or a proxy's URL.  [env for clouds, else none]"
_MODEL_HELP = "A model that it has, if its server lists none; once for each model."

_ADDED = {name: kind for name, kind in KINDS.items() if kind.group not in NOT_ADDED}
"""A peer is paired and this machine's models are there by themselves; the service rejects both with that hint."""


@click.command(
    epilog=f"""KIND is one of: {", ".join(_ADDED)}. `meshlight backends kinds` describes each.

\b
Examples:
  meshlight backends add ollama http://127.0.0.1:11434
  meshlight backends add vllm http://192.168.1.20:8000 --name "Big box"
  meshlight backends add openai-compatible https://llm.example.com --key
  meshlight backends add openai-compatible https://ai.example.com --model s1
  pass show k | meshlight backends add vllm http://gpu.lan:8000 --key-stdin

At a terminal, you are asked for required values that are missing; with KIND alone, for all values; without KIND, for
that too."""
)
@click.argument("kind", type=click.Choice(tuple(KINDS)), metavar="[KIND]", required=False)
@click.argument("url", required=False)
@click.option("--name", help="Its name.  [its kind and host]")
@click.option("--ring", type=click.Choice(RINGS), help="How far away it is.  [from its address]")
@click.option("--key", "ask_key", is_flag=True, help="Ask for its API key, without showing it.")
@click.option("--key-stdin", is_flag=True, help="Read its API key from standard input.")
@click.option("--access-key", help="The public half of a cluster's key pair; --key is the secret half.")
@click.option("--ca-file", type=_FILE, help="PEM file of the CA that signed its certificate.")
@click.option("--proxy", help=_PROXY_HELP)
@click.option("--model", "models", multiple=True, metavar="ID", help=_MODEL_HELP)
@click.option(
    "--no-follow-clock", is_flag=True, help="Don't use the cluster's clock for signatures when ours is wrong."
)
@click.option("--save-anyway", is_flag=True, help="Save it even if it doesn't answer now.")
@click.option("--disabled", is_flag=True, help="Add it disabled, without checking it.")
@start_option
def add(  # noqa: PLR0913 -- an option each
    kind: str | None,
    url: str | None,
    *,
    name: str | None,
    ring: str | None,
    ask_key: bool,
    key_stdin: bool,
    access_key: str | None,
    ca_file: Path | None,
    proxy: str | None,
    models: tuple[str, ...],
    no_follow_clock: bool,
    save_anyway: bool,
    disabled: bool,
) -> None:
    """Add a backend of KIND at URL, after checking that it answers.

    A backend is a server or account that answers: an engine, another machine's server, a cloud.
    Its API key is stored in this machine's keyring. It can't be given as an argument, since other programs can see
    arguments.
    """
    kind = kind or choose_kind(is_interactive=sys.stdin.isatty() and not key_stdin)
    fields = _without_none(url=url, access_key=access_key, ca_file=None if ca_file is None else str(ca_file))
    _check_given(kind_of(kind), fields | _without_none(proxy=proxy))
    body: dict[str, object] = {"kind": kind, **_without_none(name=name, ring=ring, proxy=proxy)}
    body |= {"models": models} if models else {}
    body |= {"follow_clock": False} if no_follow_clock else {}
    body |= {"save_anyway": True} if save_anyway else {}
    body |= {"enabled": False} if disabled else {}
    with connect_or_start(asks=False) as client:
        secret = read_key(ask=ask_key, from_stdin=key_stdin)
        given = fields if secret is None else fields | {"api_key": secret}
        body |= ask(kind_of(kind), given, is_interactive=sys.stdin.isatty() and not key_stdin)
        try:
            added = with_storage(client, lambda: client.add(body))
        except BackendCheckFailed as error:
            more = "--key asks for it. " if error.hint == "Give its API key." else ""
            more += "--model names one. " if "name its models" in error.hint else ""
            raise BackendCheckFailed(
                error.title, f"{error.hint} {more}To add it anyway: --save-anyway.".strip()
            ) from error
        if added.enabled and added.health.state == "unknown":
            report = client.check(added.id)
            added = replace(added, health=report.health, models=report.models, latency_ms=report.latency_ms)
    print_added(new_console(), added, "Added")


@click.command(
    name="set",
    epilog="""\b
Examples:
  meshlight backends set "Big box" --key
  meshlight backends set big-box --url http://192.168.1.21:8000
  meshlight backends set ollama --name "Study" --priority 1 --first-byte 120""",
)
@click.argument("name")
@click.option("--name", "new_name", help="Its new name.")
@click.option("--url", help="Its new address.")
@click.option("--key", "ask_key", is_flag=True, help="Ask for its new API key, without showing it.")
@click.option("--key-stdin", is_flag=True, help="Read its new API key from standard input.")
@click.option("--no-key", is_flag=True, help="Remove its API key.")
@click.option("--access-key", help="The public half of a cluster's key pair.")
@click.option("--ca-file", type=_FILE, help="PEM file of the CA that signed its certificate.")
@click.option("--proxy", help=_PROXY_HELP)
@click.option("--model", "models", multiple=True, metavar="ID", help=_MODEL_HELP)
@click.option("--no-models", is_flag=True, help="Read the models from its server again.")
@click.option(
    "--follow-clock/--no-follow-clock",
    default=None,
    help="Whether to use a cluster's clock for signatures when this machine's is wrong.",
)
@click.option("--ring", type=click.Choice(RINGS), help="How far away it is.")
@click.option("--priority", type=click.IntRange(-1_000_000, 1_000_000), help="Lower numbers are tried first.")
@click.option(
    "--slots",
    type=click.IntRange(1, SLOTS_MAX),
    help="How many requests for one model it answers at the same time; more wait.",
)
@click.option("--no-slots", is_flag=True, help="Leave it to Meshlight again how many.")
@click.option("--first-byte", type=_SECONDS, metavar="SECONDS", help="How long a response may take to start.")
@click.option("--idle", type=_SECONDS, metavar="SECONDS", help="How long a stream may pause.")
@click.option("--save-anyway", is_flag=True, help="Save the change even if it doesn't answer now.")
@start_option
def set_(  # noqa: PLR0913 -- an option each
    name: str,
    *,
    new_name: str | None,
    url: str | None,
    ask_key: bool,
    key_stdin: bool,
    no_key: bool,
    access_key: str | None,
    ca_file: Path | None,
    proxy: str | None,
    models: tuple[str, ...],
    no_models: bool,
    follow_clock: bool | None,
    ring: str | None,
    priority: int | None,
    slots: int | None,
    no_slots: bool,
    first_byte: float | None,
    idle: float | None,
    save_anyway: bool,
) -> None:
    """Change the backend NAME.

    A new address or key is checked before it is saved.
    """
    if no_key and (ask_key or key_stdin):
        raise BadRequest("--no-key can't be combined with a new key.", "Give one of them.")
    if no_models and models:
        raise BadRequest("--no-models can't be combined with --model.", "Give one of them.")
    if no_slots and slots is not None:
        raise BadRequest("--no-slots can't be combined with --slots.", "Give one of them.")
    body = _without_none(
        name=new_name,
        url=url,
        access_key=access_key,
        ca_file=None if ca_file is None else str(ca_file),
        proxy=proxy,
        models=models or None,
        follow_clock=follow_clock,
        ring=ring,
        priority=priority,
        slots=slots,
        first_byte_s=first_byte,
        idle_s=idle,
    )
    body |= {"api_key": ""} if no_key else {}
    body |= {"models": ()} if no_models else {}
    body |= {"slots": None} if no_slots else {}
    if not (body or ask_key or key_stdin):
        raise BadRequest("No change was given.", "For the options, see: meshlight backends set --help")
    body |= {"save_anyway": True} if save_anyway else {}
    with connect_or_start() as client:
        backend = pick_backend(client.backends(), name)
        _check_given(kind_of(backend.kind), body)
        secret = read_key(ask=ask_key, from_stdin=key_stdin)
        body |= {} if secret is None else {"api_key": secret}
        try:
            changed = with_storage(client, lambda: client.change(backend.id, body))
        except BackendCheckFailed as error:
            more = "To save the change anyway: --save-anyway."
            raise BackendCheckFailed(error.title, f"{error.hint} {more}".strip()) from error
    print_added(new_console(), changed, "Changed")


@click.command(epilog="""\b\nExamples:\n  meshlight backends kinds\n  meshlight backends kinds --json""")
@click.option("--json", "as_json", is_flag=True, help="Print the kinds as JSON.")
def kinds(*, as_json: bool) -> None:
    """List the kinds of backends, and what each needs."""
    if as_json:
        print_json(
            [
                {
                    name: to_builtins(getattr(kind, name))
                    for name in ("kind", "label", "about", "group", "fields")
                }
                for kind in _ADDED.values()
            ]
        )
        return
    rows = []
    for kind in _ADDED.values():
        needs = [field.label for field in kind.fields if field.required]
        rows.append([kind.kind, kind.label, ", ".join(needs) or "nothing", kind.about])
    columns = (
        Column(title="KIND"),
        Column(title="WHAT IT IS", drop=1),
        Column(title="NEEDS", fit=cut),
        Column(title="MORE", min_width=24, drop=2, fit=cut),
    )
    console = new_console()
    console.print(*lay_out(columns, rows, TerminalStyle.of(console).width), sep="\n")


def choose_kind(*, is_interactive: bool) -> str:
    """Ask which kind of backend is meant; where nobody can be asked, BadRequest names them."""
    if not is_interactive:
        raise BadRequest(
            "The kind of backend is missing.",
            f"Give one of: {', '.join(_ADDED)}. See: meshlight backends kinds",
        )
    kinds_ = sorted(_ADDED.values(), key=lambda kind: kind.group != "cloud")  # a key is what most people have
    click.echo("What is it?")
    columns = (
        Column(title="", right=True),
        Column(title="KIND"),
        Column(title="MORE", min_width=24, drop=1, fit=cut),
    )
    rows = [[str(number), kind.label, kind.about] for number, kind in enumerate(kinds_, start=1)]
    console = new_console()
    console.print(*lay_out(columns, rows, TerminalStyle.of(console).width), sep="\n")

    def read(answer: str) -> str:
        word = answer.casefold()
        for number, kind in enumerate(kinds_, start=1):
            if word in {str(number), kind.kind, kind.label.casefold()}:
                return kind.kind
        raise BadRequest(f"Answer with a number from 1 to {len(kinds_)}.")

    return ask_text("Which one", read, needed=f"Answer with a number from 1 to {len(kinds_)}. Ctrl-C ends.")


def print_added(console: Console, backend: BackendView, action: str) -> None:
    """Print what was done to a backend (`Added`, …), and its state."""
    style = TerminalStyle.of(console)
    if not backend.enabled:
        console.print(*message_lines(glyph_of(backend), f"{action}: {backend.name}.", "", style), sep="\n")
    elif backend.health.state in {"healthy", "unknown"}:
        fields = f"{action}: {backend.name} ({backend.health.state}, {models_of(backend.models)})."
        console.print(*message_lines(glyph_of(backend), fields, "", style), sep="\n")
    else:
        fields = f"{action}: {backend.name} ({backend.health.state}): {backend.health.text}"
        console.print(*message_lines(glyph_of(backend), fields, backend.health.fix, style), sep="\n")


def models_of(names: tuple[str, ...]) -> str:
    """Return the number of models as text."""
    return count(len(names), "model")


def _without_none(**given: object) -> dict[str, object]:
    """Return the arguments that are not None."""
    return {name: value for name, value in given.items() if value is not None}


_OPTION_HINTS = {
    "url": "Give its address behind the kind: meshlight backends add {kind} URL",
    "api_key": "Pipe it in with --key-stdin, or let --key ask for it.",
    "access_key": "Give it with --access-key.",
    "ca_file": "Give it with --ca-file.",
}
"""The text fields of backends, and how to give each one without a prompt."""


def ask(kind: BackendKind, given: Mapping[str, object], *, is_interactive: bool) -> dict[str, object]:
    """Return what was given and what a person then typed.

    With an address given, only what the kind can't do without is asked for. Where nobody may be asked, BadRequest
    names the option that is missing.
    """
    fields = dict(given)
    prompt_all = "url" not in given
    for field in kind.fields:
        if field.name in fields or field.name not in _OPTION_HINTS:
            continue
        default_value = field.default or (kind.default_url if field.name == "url" else "")
        is_required = field.required and not default_value
        if is_interactive and (is_required or prompt_all):
            typed = _prompt(kind, field, default_value, is_required=is_required)
            fields |= {field.name: typed} if typed else {}
        elif is_required:
            label = field.label if field.label[:2].isupper() else field.label.lower()
            raise BadRequest(
                f"{kind.label} needs its {label}.",
                _OPTION_HINTS[field.name].format(kind=kind.kind),
                field.name,
            )
    return fields


def read_key(*, ask: bool, from_stdin: bool) -> str | None:
    """Return a backend's API key from a prompt or from standard input; None if neither was requested."""
    if ask and from_stdin:
        raise BadRequest("--key and --key-stdin can't be combined.", "Give one of them.")
    if from_stdin:
        secret = sys.stdin.readline().strip()
        if not secret:
            raise BadRequest("Standard input has no key.", "Pipe the key in as one line.")
        return secret
    if ask:
        return ask_text("Key (not shown)", is_secret=True)
    return None


def _check_given(kind: BackendKind, given: Mapping[str, object]) -> None:
    """Raise BadRequest for what was given and can't be, before anything is asked for."""
    if kind.group in NOT_ADDED:
        return  # which the service says
    for name, value in given.items():
        if isinstance(value, str) and value and name in {*_OPTION_HINTS, "proxy"}:
            check_field(name, value, kind)


def _prompt(kind: BackendKind, field: Field, default_value: str, *, is_required: bool) -> str:
    words = f"{field.label} (not shown)" if field.is_secret else field.label
    if not is_required and not default_value:
        words += ", empty for none"
    if field.hint:
        click.echo(field.hint)
    needed = NEEDED if is_required else ""
    if not default_value and field.placeholder and not field.is_secret:
        words += f" (such as {field.placeholder})"
        needed = needed and f"It can't be left out: {field.placeholder} is only an example. Ctrl-C ends."

    def check(text: str) -> str:
        if text and field.name == "ca_file":
            text = str(Path(text).expanduser().absolute())
            if not Path(text).is_file():
                raise BadRequest(f"There is no file {text}.", "Give the path of a PEM file.")
        if text:
            check_field(field.name, text, kind)
        return text

    return ask_text(words, check, default=default_value, is_secret=field.is_secret, needed=needed)
