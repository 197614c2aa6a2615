"""The commands below `meshlight peers`, and finding a machine by name, id, or the start of its id."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Literal, Protocol, TypeVar, get_args

import click
from rich.text import Text

from meshlight.cli.output.console import GOOD, WARN, TerminalStyle, new_console
from meshlight.cli.output.peers import discovered_hints, local_node_lines, peers_report, terms_text
from meshlight.cli.output.status import message_lines
from meshlight.cli.service_client import print_json
from meshlight.cli.start import connect_or_start, start_option
from meshlight.domain.backend import RINGS, Ring
from meshlight.domain.errors import BadRequest, NotFound
from meshlight.domain.peers import PeerView
from meshlight.domain.text import count, sanitize

Switch = Literal["on", "off"]
_SWITCH = click.Choice(get_args(Switch))
ALL = "all"


@click.group(
    invoke_without_command=True,
    epilog="""\b
Examples:
  meshlight peers
  meshlight peers --json | jq -r '.peers[] | .name + " " + .url'
  meshlight peers visible on
  meshlight peers share "Bo's desk" --at-once 2
  meshlight pair""",
)
@click.option("--json", "as_json", is_flag=True, help="Print the peers as JSON.")
@start_option
@click.pass_context
def peers(ctx: click.Context, *, as_json: bool) -> None:
    """Show paired and discovered machines, and share models.

    You can use a paired machine's models like those of any backend, and it may use the models here that you share.
    Models of one peer are never shared with another.
    """
    if ctx.invoked_subcommand is not None:
        return
    with connect_or_start() as client:
        view = client.peers()
        backends = () if as_json else client.backends()
    if as_json:
        print_json(view)
        return
    console = new_console()
    console.print(peers_report(view, backends, TerminalStyle.of(console)))


@peers.command(epilog="""\b\nExamples:\n  meshlight peers visible on\n  meshlight peers visible off""")
@click.argument("switch", type=_SWITCH, metavar="on|off")
@start_option
def visible(switch: Switch) -> None:
    """Make this machine visible to others on this network, or hide it.

    Others can then ask it to pair, and see its name, its id and the number of its models. Paired machines keep
    working either way.
    """
    with connect_or_start() as client:
        view = client.set_visibility(visible=switch == "on")
    console = new_console()
    style = TerminalStyle.of(console)
    console.print(*local_node_lines(view, style), sep="\n")
    if view.visible:
        console.print(Text("Pair from another machine with: meshlight pair", "bright_black"))
    if view.problem:
        console.print(*message_lines(WARN, view.problem, "", style), sep="\n")


@peers.command(epilog="""\b\nExamples:\n  meshlight peers browse on\n  meshlight peers browse off""")
@click.argument("switch", type=_SWITCH, metavar="on|off")
@start_option
def browse(switch: Switch) -> None:
    """Search for other machines on this network, or not."""
    with connect_or_start() as client:
        view = client.set_visibility(browse=switch == "on")
    console = new_console()
    style = TerminalStyle.of(console)
    if view.browse:
        text = "Searching on this network. See the result in a few seconds with: meshlight peers"
        console.print(*message_lines(GOOD, text, "", style), sep="\n")
    else:
        console.print(*discovered_hints(view, (), style), sep="\n")


@peers.command(
    epilog="""\b
Examples:
  meshlight peers share Bo                             show what it may use
  meshlight peers share Bo --rings machine,lan --at-once 2
  meshlight peers share Bo --models qwen3:4b,gemma3:4b
  meshlight peers share Bo --models all
  meshlight peers share Bo --may-manage                it may load and unload them
  meshlight peers share Bo --use 'qwen3*'              what you use of it
  meshlight peers share Bo --pause

NAME is a peer's name or id, or the start of its id."""
)
@click.argument("name")
@click.option("--rings", metavar="RING,…", help=f"It may use models in these rings: {', '.join(RINGS)}.")
@click.option("--models", metavar="MODEL,…|all", help="It may use only these models of those rings, or all.")
@click.option(
    "--use",
    metavar="MODEL,…|all",
    help="Use only these models (globs) of the peer, or all that you don't have yourself.",
)
@click.option(
    "--at-once", type=click.IntRange(1, 1_000), metavar="N", help="How many requests it may run at once."
)
@click.option(
    "--may-manage/--no-may-manage", default=None, help="It may load and unload the models it may use, or not."
)
@click.option("--pause/--resume", "paused", default=None, help="Stop sharing for now, or resume.")
@start_option
def share(
    name: str,
    *,
    rings: str | None,
    models: str | None,
    use: str | None,
    at_once: int | None,
    may_manage: bool | None,
    paused: bool | None,
) -> None:
    """Show what a peer may use here, or change it.

    The change takes effect at once.
    """
    terms: dict[str, object] = {}
    if rings is not None:
        terms["share_rings"] = _rings(rings)
    if models is not None:
        terms["share_models"] = None if models.strip().casefold() == ALL else _words(models, "--models")
    if use is not None:
        terms["use"] = None if use.strip().casefold() == ALL else _words(use, "--use")
    if at_once is not None:
        terms["max_in_flight"] = at_once
    if may_manage is not None:
        terms["may_manage"] = may_manage
    if paused is not None:
        terms["paused"] = paused
    with connect_or_start() as client:
        peer = find_peer(client.peers().peers, name)
        if terms:
            changed = client.set_terms(peer.id, terms)
            peer = next((one for one in changed.peers if one.id == peer.id), peer)
    print_terms(peer)


def print_terms(peer: PeerView) -> None:
    """Print what a peer may use here, and how many models it can use now."""
    console = new_console()
    style = TerminalStyle.of(console)
    limit = count(peer.max_in_flight, "request")
    text = f"{sanitize(peer.name)} may use {terms_text(peer)}, {limit} at once."
    if peer.may_manage:
        text += " It may load and unload them."
    if peer.paused:
        text = f"{sanitize(peer.name)} is paused: it may use nothing for now. Undo this with --resume."
    if peer.use is not None:
        text += f" Used from it: {', '.join(sanitize(model) for model in peer.use) or 'nothing'}."
    model_count = len(peer.sees_models)
    is_ok = peer.paused or bool(model_count)
    sees = (
        ""
        if peer.paused
        else f" It sees {count(model_count, 'model') if model_count else 'no model'} here now."
    )
    console.print(*message_lines(GOOD if is_ok else WARN, text + sees, "", style), sep="\n")


def _rings(text: str) -> list[Ring]:
    found = _words(text, "--rings")
    wrong = [word for word in found if word not in RINGS]
    if wrong:
        raise BadRequest(f"There is no ring {sanitize(wrong[0])!r}.", f"Rings are: {', '.join(RINGS)}.")
    return [ring for ring in RINGS if ring in found]


def _words(text: str, option: str) -> list[str]:
    found = [word.strip() for word in text.split(",") if word.strip()]
    if not found:
        raise BadRequest(f"{option} is empty.", "To share nothing for now: --pause")
    return list(dict.fromkeys(found))


PREFIX = 4
"""The least number of digits for the start of an id; a shorter text is read as a name only."""
_HEX = frozenset("0123456789abcdef")


class Named(Protocol):
    """A machine with an id and a name: a paired peer or a discovered machine."""

    @property
    def id(self) -> str:
        """Its node id."""

    @property
    def name(self) -> str:
        """Its own name."""


N = TypeVar("N", bound=Named)


def matches(found: Sequence[N], text: str) -> list[N]:
    """Return the machines with this name, this id or this start of an id, ignoring case.

    Matches by name and by the start of an id count alike: a machine must not hide another one by choosing a name
    that looks like its id.
    """
    wanted = sanitize(text)
    digits = wanted.replace(" ", "").lower()
    is_id = len(digits) >= PREFIX and _HEX.issuperset(digits)
    exact = [one for one in found if one.id == digits]
    if exact:
        return exact
    return [
        one
        for one in found
        if sanitize(one.name).casefold() == wanted.casefold() or (is_id and one.id.startswith(digits))
    ]


def single_match(found: Sequence[N], text: str) -> N:
    """Return the only match; raises BadRequest if there are several."""
    if len(found) > 1:
        ids = ", ".join(one.id[: _distinct_names(found)] for one in found)
        raise BadRequest(f"{len(found)} machines match {sanitize(text)!r}.", f"Name one by its id: {ids}.")
    return found[0]


def find_peer(peers: Sequence[N], text: str) -> N:
    """Return the peer with this name or id; raises NotFound with similar names if there is none."""
    found = matches(peers, text)
    if not found:
        if not peers:
            raise NotFound("There are no paired machines yet.", "Pair one with: meshlight pair")
        similar = get_close_matches(sanitize(text), [sanitize(one.name) for one in peers], n=3, cutoff=0.6)
        hint = f"Did you mean {' or '.join(similar)}?" if similar else "See their names with: meshlight peers"
        raise NotFound(f"No peer is called {sanitize(text)!r}.", hint)
    return single_match(found, text)


def _distinct_names(found: Sequence[Named]) -> int:
    """Return how many digits distinguish the ids, at least 8, as reports show them."""
    return next((n for n in range(8, 64) if len({one.id[:n] for one in found}) == len(found)), 64)
