"""The screen of `meshlight peers`: this machine, who is paired with it, and who is seen.

Six digits so large that two people in front of two screens can't misread them.
"""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from meshlight.cli.output.console import OFF, WARN, TerminalStyle, glyph_of
from meshlight.cli.output.status import models_text, note, problem_lines
from meshlight.cli.output.table import Cell, Column, lay_out
from meshlight.domain.api_types import BackendView
from meshlight.domain.backend import Ring
from meshlight.domain.peers import PeersView, PeerView, SightingView
from meshlight.domain.text import DASH, count, cut, sanitize, wrap

ADDRESSES_NAMED = 2
MODELS_NAMED = 4

_RINGS: dict[Ring, str] = {
    "machine": "this machine",
    "lan": "the local network",
    "company": "the company",
    "cloud": "the cloud",
}
_PEERS = (
    Column(title="STATE"),
    Column(title="NAME", least=12),
    Column(title="ID"),
    Column(title="MODELS", least=14, fit=cut),
    Column(title="MAY USE HERE", least=27, fit=cut),
    Column(title="NOW", drop=1),
)
_SEEN = (
    Column(title="NAME", least=12),
    Column(title="ID"),
    Column(title="HAS", least=12, fit=cut),
    Column(title="ADDRESS", least=15, fit=cut),
    Column(title="", fit=cut),
)


def peers_report(view: PeersView, backends: Sequence[BackendView], paper: TerminalStyle) -> RenderableType:
    """Show everything about other Meshlights on one screen."""
    parts: list[RenderableType] = [*local_node_lines(view, paper)]
    if view.problem:
        parts += note(WARN, view.problem, "", paper)
    parts += ["", Text("PAIRED", "bold")]
    if view.peers:
        parts += _peer_lines(view.peers, {backend.id: backend for backend in backends}, paper)
        parts += _quiet("Change what one may use with: meshlight peers share NAME", paper)
    else:
        parts += _quiet("Nobody yet. Two machines are paired once, by comparing six digits.", paper)
    parts += ["", Text("SEEN ON THIS NETWORK", "bold")]
    others = [one for one in view.seen if not one.is_paired]
    if others:
        parts += discovered_lines(others, paper)
    parts += discovered_hints(view, others, paper)
    return Group(*parts)


def local_node_lines(view: PeersView, paper: TerminalStyle) -> list[Text]:
    """Say who this machine is to others, and how to be seen or hidden."""
    name = sanitize(view.name) or "This machine"
    who = (
        f"{name} ({view.short})" if view.short else f"{name} (it gets an id when it is first seen or paired)"
    )
    if not view.visible:
        said = f"{who} is hidden: others can't see it, nor ask it to pair."
        return [Text(line) for line in wrap(said, paper.width)] + _quiet(
            "Show it with: meshlight peers visible on", paper
        )
    at = f" ({', '.join(view.addresses[:ADDRESSES_NAMED])})" if view.addresses else ""
    said = f"{who} can be seen on this network, and asked to pair{at}."
    return [Text(line) for line in wrap(said, paper.width)] + _quiet(
        "Hide it with: meshlight peers visible off", paper
    )


def discovered_lines(
    seen: Sequence[SightingView], paper: TerminalStyle, *, numbered: bool = False
) -> list[Text]:
    """Show who is seen, one a line; with `numbered`, to be chosen by number."""
    rows: list[list[Cell]] = [
        [
            one.name or DASH,
            one.short or DASH,
            f"{count(one.models, 'model')} on {count(one.backends, 'backend')}",
            ", ".join(one.addresses[:ADDRESSES_NAMED]) or one.host,
            "paired" if one.is_paired else "" if one.can_pair else "can't be paired",
        ]
        for one in seen
    ]
    columns: tuple[Column, ...] = _SEEN
    if numbered:
        columns = (Column(title="", right=True), *columns)
        rows = [[str(place), *row] for place, row in enumerate(rows, start=1)]
    lines = lay_out(columns, rows, paper.width)
    for one in seen:
        if one.conflict:
            lines += note(WARN, f"{one.name}: {one.conflict}", "", paper)
    return lines


def discovered_hints(view: PeersView, others: Sequence[SightingView], paper: TerminalStyle) -> list[Text]:
    """Say what to do with those who are seen, or why nobody is."""
    if not view.browse:
        return _quiet("Not looking. Look again with: meshlight peers browse on", paper)
    lines: list[Text] = []
    if any(one.can_pair for one in others):
        lines += _quiet("Pair with one: meshlight pair NAME", paper)
    else:
        lines += _quiet("Nobody else to pair with. On the other machine: meshlight pair --accept", paper)
    other = next((one for one in others if one.service == "bago" and one.addresses), None)
    if other is not None:
        host = other.addresses[0]
        url = f"http://[{host}]:{other.port}" if ":" in host else f"http://{host}:{other.port}"
        said = f"{sanitize(other.name)} is a Backend.AI GO node, which is not paired with but added by its address:"
        lines += _quiet(said, paper)
        lines.append(Text(f"  meshlight backends add openai-compatible {sanitize(url)}"))
    return lines


def terms_text(peer: PeerView) -> str:
    """Return what a peer may use here: `every model of this machine`."""
    if peer.paused:
        return "nothing: paused"
    rings = " and ".join(_RINGS[ring] for ring in peer.share_rings)
    if not rings or peer.share_models == ():
        return "nothing"
    models = "every model"
    if peer.share_models is not None:
        models = ", ".join(sanitize(model) for model in peer.share_models[:MODELS_NAMED])
        more = len(peer.share_models) - MODELS_NAMED
        models += f" and {more} more" if more > 0 else ""
    return f"{models} of {rings}"


def _peer_lines(
    peers: Sequence[PeerView], backends: Mapping[str, BackendView], paper: TerminalStyle
) -> list[Text]:
    rows: list[list[Cell]] = []
    told: list[Text] = []
    for peer in peers:
        backend = backends.get(peer.backend or "")
        rows.append(
            [
                paper.state(OFF if backend is None else glyph_of(backend)),
                peer.name,
                peer.short,
                DASH if backend is None else models_text(backend.models),
                terms_text(peer),
                f"{peer.in_flight} of {peer.max_in_flight}",
            ]
        )
        if backend is None:
            said = f"{sanitize(peer.name)} is not used here: its backend was removed."
            told += note(WARN, said, "Pair with it anew, or end the pairing: meshlight unpair NAME", paper)
        elif backend.enabled and backend.health.state != "healthy":
            told += problem_lines(backend, paper)
    return lay_out(_PEERS, rows, paper.width) + told


def _quiet(said: str, paper: TerminalStyle) -> list[Text]:
    return [Text(line, "bright_black") for line in wrap(said, paper.width)]


HEIGHT = 5
_SHAPES = (
    "###,# #,# #,# #,###",
    "  #,  #,  #,  #,  #",
    "###,  #,###,#  ,###",
    "###,  #,###,  #,###",
    "# #,# #,###,  #,  #",
    "###,#  ,###,  #,###",
    "###,#  ,###,# #,###",
    "###,  #,  #,  #,  #",
    "###,# #,###,# #,###",
    "###,# #,###,  #,###",
)
"""The rows of each digit, three dots wide."""
_DOT = 2
"""Cells of the terminal for one dot: they are twice as high as wide."""


def large_digits(digits: str, paper: TerminalStyle) -> list[str]:
    """Return the lines that draw digits in groups of three, in letters that this terminal can show."""
    ink = "#" if paper.ascii_only else "█"
    rows = [_row(digits, row).replace("#", ink).rstrip() for row in range(HEIGHT)]
    return [f"  {row}" for row in rows]


def _row(digits: str, row: int) -> str:
    drawn = ""
    for place, digit in enumerate(digits):
        gap = 0 if place == 0 else 3 if place % 3 == 0 else 1
        drawn += " " * gap * _DOT + "".join(dot * _DOT for dot in _cells(digit, row))
    return drawn


def _cells(digit: str, row: int) -> str:
    return _SHAPES[int(digit)].split(",")[row]
