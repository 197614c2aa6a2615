"""The report of `meshlight peers` (this machine, paired and discovered machines), and large pairing digits."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from meshlight.cli.output.console import OFF, WARN, TerminalStyle, glyph_of
from meshlight.cli.output.status import message_lines, models_text, problem_lines
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
_MAY_LOAD = Column(title="MAY LOAD", drop=2)
"""Whether a peer may load and unload models here; shown only if one may."""
_PEER_COLUMNS = (
    Column(title="STATE"),
    Column(title="NAME", min_width=12),
    Column(title="ID"),
    Column(title="MODELS", min_width=14, fit=cut),
    Column(title="MAY USE HERE", min_width=27, fit=cut),
    _MAY_LOAD,
    Column(title="NOW", drop=1),
)
_DISCOVERED_COLUMNS = (
    Column(title="NAME", min_width=12),
    Column(title="ID"),
    Column(title="HAS", min_width=12, fit=cut),
    Column(title="ADDRESS", min_width=15, fit=cut),
    Column(title="", fit=cut),
)


def peers_report(view: PeersView, backends: Sequence[BackendView], style: TerminalStyle) -> RenderableType:
    """Return the report on all other machines."""
    parts: list[RenderableType] = [*local_node_lines(view, style)]
    if view.problem:
        parts += message_lines(WARN, view.problem, "", style)
    parts += ["", Text("PAIRED", "bold")]
    if view.peers:
        parts += _peer_lines(view.peers, {backend.id: backend for backend in backends}, style)
        parts += _dim_lines("Change what a machine may use with: meshlight peers share NAME", style)
    else:
        parts += _dim_lines("No paired machines yet. Pair one with: meshlight pair", style)
    parts += ["", Text("FOUND ON THIS NETWORK", "bold")]
    unpaired = [one for one in view.seen if not one.is_paired]
    if unpaired:
        parts += discovered_lines(unpaired, style)
    parts += discovered_hints(view, unpaired, style)
    return Group(*parts)


def local_node_lines(view: PeersView, style: TerminalStyle) -> list[Text]:
    """Return how other machines see this one, and how to change that."""
    name = sanitize(view.name) or "This machine"
    identity = (
        f"{name} ({view.short})" if view.short else f"{name} (no id until it is first visible or paired)"
    )
    if not view.visible:
        text = f"{identity} is hidden: other machines can't find it or ask it to pair."
        return [Text(line) for line in wrap(text, style.width)] + _dim_lines(
            "Show it with: meshlight peers visible on", style
        )
    addresses = f" ({', '.join(view.addresses[:ADDRESSES_NAMED])})" if view.addresses else ""
    text = f"{identity} is visible to other machines on this network{addresses}."
    return [Text(line) for line in wrap(text, style.width)] + _dim_lines(
        "Hide it with: meshlight peers visible off", style
    )


def discovered_lines(
    sightings: Sequence[SightingView], style: TerminalStyle, *, numbered: bool = False
) -> list[Text]:
    """Return one line for each discovered machine; with `numbered`, numbers to choose by."""
    rows: list[list[Cell]] = [
        [
            one.name or DASH,
            one.short or DASH,
            f"{count(one.models, 'model')} on {count(one.backends, 'backend')}",
            ", ".join(one.addresses[:ADDRESSES_NAMED]) or one.host,
            "paired" if one.is_paired else "" if one.can_pair else "can't be paired",
        ]
        for one in sightings
    ]
    columns: tuple[Column, ...] = _DISCOVERED_COLUMNS
    if numbered:
        columns = (Column(title="", right=True), *columns)
        rows = [[str(index), *row] for index, row in enumerate(rows, start=1)]
    lines = lay_out(columns, rows, style.width)
    for one in sightings:
        if one.conflict:
            lines += message_lines(WARN, f"{one.name}: {one.conflict}", "", style)
    return lines


def discovered_hints(view: PeersView, unpaired: Sequence[SightingView], style: TerminalStyle) -> list[Text]:
    """Return what to do with the discovered machines, or why there are none."""
    if not view.browse:
        return _dim_lines("The search is off. Turn it on with: meshlight peers browse on", style)
    lines: list[Text] = []
    if any(one.can_pair for one in unpaired):
        lines += _dim_lines("Pair with one: meshlight pair NAME", style)
    else:
        lines += _dim_lines(
            "No machines found to pair with. Run this on the other machine: meshlight pair --accept", style
        )
    other = next((one for one in unpaired if one.service == "bago" and one.addresses), None)
    if other is not None:
        host = other.addresses[0]
        url = f"http://[{host}]:{other.port}" if ":" in host else f"http://{host}:{other.port}"
        text = f"{sanitize(other.name)} is a Backend.AI GO node. It can't be paired; add it by its address:"
        lines += _dim_lines(text, style)
        lines.append(Text(f"  meshlight backends add openai-compatible {sanitize(url)}"))
    return lines


def terms_text(peer: PeerView) -> str:
    """Return what a peer may use here, such as `every model of this machine`."""
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
    peers: Sequence[PeerView], backends: Mapping[str, BackendView], style: TerminalStyle
) -> list[Text]:
    rows: list[list[Cell]] = []
    messages: list[Text] = []
    for peer in peers:
        backend = backends.get(peer.backend or "")
        rows.append(
            [
                style.state(OFF if backend is None else glyph_of(backend)),
                peer.name,
                peer.short,
                DASH if backend is None else models_text(backend.models),
                terms_text(peer),
                "yes" if peer.may_manage and not peer.paused else "no",
                f"{peer.in_flight} of {peer.max_in_flight}",
            ]
        )
        if backend is None:
            text = f"{sanitize(peer.name)} is not used here: its backend was removed."
            messages += message_lines(
                WARN, text, "Pair it again, or end the pairing: meshlight unpair NAME", style
            )
        elif backend.enabled and backend.health.state != "healthy":
            messages += problem_lines(backend, style)
    shown = [i for i, column in enumerate(_PEER_COLUMNS) if column is not _MAY_LOAD or _any_manages(peers)]
    columns, cells = [_PEER_COLUMNS[i] for i in shown], [[row[i] for i in shown] for row in rows]
    return lay_out(columns, cells, style.width) + messages


def _any_manages(peers: Sequence[PeerView]) -> bool:
    return any(peer.may_manage for peer in peers)


def _dim_lines(text: str, style: TerminalStyle) -> list[Text]:
    return [Text(line, "bright_black") for line in wrap(text, style.width)]


HEIGHT = 5
_DIGIT_SHAPES = (
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
_CELLS_PER_DOT = 2
"""Terminal cells for one dot: a cell is twice as high as wide."""


def large_digits(digits: str, style: TerminalStyle) -> list[str]:
    """Return lines that draw digits in groups of three, so large that nobody misreads them."""
    block = "#" if style.ascii_only else "█"
    rows = [_row(digits, row).replace("#", block).rstrip() for row in range(HEIGHT)]
    return [f"  {row}" for row in rows]


def _row(digits: str, row: int) -> str:
    drawn = ""
    for index, digit in enumerate(digits):
        gap = 0 if index == 0 else 3 if index % 3 == 0 else 1
        drawn += " " * gap * _CELLS_PER_DOT + "".join(dot * _CELLS_PER_DOT for dot in _cells(digit, row))
    return drawn


def _cells(digit: str, row: int) -> str:
    return _DIGIT_SHAPES[int(digit)].split(",")[row]
