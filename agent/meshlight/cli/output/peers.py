"""The screen of `meshlight peers`: this machine, who is paired with it, and who is seen."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from meshlight.desktop.paper import OFF, WARN, Paper, sign_of
from meshlight.desktop.screens import illness, models_said, note
from meshlight.desktop.table import Cell, Column, lay_out
from meshlight.desktop.text import DASH, clean, count, cut, wrap
from meshlight.domain.backend import Ring
from meshlight.domain.peer_view import PeersView, PeerView, SightingView
from meshlight.domain.view import BackendView

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


def peers_screen(view: PeersView, backends: Sequence[BackendView], paper: Paper) -> RenderableType:
    """Show everything about other Meshlights on one screen."""
    parts: list[RenderableType] = [*here_lines(view, paper)]
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
        parts += seen_lines(others, paper)
    parts += seen_hints(view, others, paper)
    return Group(*parts)


def here_lines(view: PeersView, paper: Paper) -> list[Text]:
    """Say who this machine is to others, and how to be seen or hidden."""
    name = clean(view.name) or "This machine"
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


def seen_lines(seen: Sequence[SightingView], paper: Paper, *, numbered: bool = False) -> list[Text]:
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


def seen_hints(view: PeersView, others: Sequence[SightingView], paper: Paper) -> list[Text]:
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
        said = (
            f"{clean(other.name)} is a Backend.AI GO node, which is not paired with but added by its address:"
        )
        lines += _quiet(said, paper)
        lines.append(Text(f"  meshlight backends add openai-compatible {clean(url)}"))
    return lines


def terms_said(peer: PeerView) -> str:
    """Return what a peer may use here: `every model of this machine`."""
    if peer.paused:
        return "nothing: paused"
    rings = " and ".join(_RINGS[ring] for ring in peer.share_rings)
    if not rings or peer.share_models == ():
        return "nothing"
    models = "every model"
    if peer.share_models is not None:
        models = ", ".join(clean(model) for model in peer.share_models[:MODELS_NAMED])
        more = len(peer.share_models) - MODELS_NAMED
        models += f" and {more} more" if more > 0 else ""
    return f"{models} of {rings}"


def _peer_lines(peers: Sequence[PeerView], backends: Mapping[str, BackendView], paper: Paper) -> list[Text]:
    rows: list[list[Cell]] = []
    told: list[Text] = []
    for peer in peers:
        backend = backends.get(peer.backend or "")
        rows.append(
            [
                paper.state(OFF if backend is None else sign_of(backend)),
                peer.name,
                peer.short,
                DASH if backend is None else models_said(backend.models),
                terms_said(peer),
                f"{peer.in_flight} of {peer.max_in_flight}",
            ]
        )
        if backend is None:
            said = f"{clean(peer.name)} is not used here: its backend was removed."
            told += note(WARN, said, "Pair with it anew, or end the pairing: meshlight unpair NAME", paper)
        elif backend.enabled and backend.health.state != "healthy":
            told += illness(backend, paper)
    return lay_out(_PEERS, rows, paper.width) + told


def _quiet(said: str, paper: Paper) -> list[Text]:
    return [Text(line, "bright_black") for line in wrap(said, paper.width)]
