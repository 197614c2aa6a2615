"""The tray's menu of other Meshlights, and what is said of one that asks to be paired. Pure."""

from collections.abc import Mapping

from meshlight.desktop.tray.menu_items import LINE_CELLS, STATES, Action, Item, line, separator
from meshlight.desktop.tray.notifications import LINE_CELLS as NOTE_CELLS
from meshlight.desktop.tray.notifications import TITLE_CELLS, Notification
from meshlight.desktop.window.launcher import PEERS
from meshlight.domain.api_types import BackendView, SnapshotView
from meshlight.domain.peers import PairingView, PeersView, PeerView, SightingView
from meshlight.domain.text import count, cut, sanitize, shorten

SEEN_LISTED = 12
PEERS_LISTED = 12
NAME_CELLS = 32
SHOW = Action("open", PEERS)


def request(peers: PeersView | None) -> PairingView | None:
    """Return the request to pair that waits for the person here; None when there is none."""
    pairing = None if peers is None else peers.pairing
    return pairing if pairing and pairing.role == "asked" and pairing.state == "comparing" else None


def request_text(asked: PairingView) -> str:
    """Return `Bo asks to be paired: 123 456`."""
    return f"{_short(asked.name)} asks to be paired: {digits_text(asked.digits)}"


def request_note(asked: PairingView) -> Notification:
    """Return the notification of a request to pair."""
    body = "Are these digits on both machines? Click here to answer, or: meshlight pair"
    return Notification(cut(request_text(asked), TITLE_CELLS), cut(body, NOTE_CELLS))


def digits_text(digits: str) -> str:
    """Return six digits in two groups: `123 456`."""
    return f"{sanitize(digits)[:3]} {sanitize(digits)[3:6]}".strip()


def request_line(peers: PeersView | None) -> list[Item]:
    """Return the line that stands above all others while a request waits."""
    asked = request(peers)
    return [] if asked is None else [line("request", cut(f"! {request_text(asked)}", LINE_CELLS), SHOW)]


def peers_menu(peers: PeersView | None, view: SnapshotView | None) -> list[Item]:
    """Return the entry with its submenu; none for a service that knows nothing of other Meshlights."""
    if peers is None:
        return []
    backends = {backend.id: backend for backend in view.backends} if view else {}
    is_seen = Item(
        key="visible",
        text="Visible on this network",
        action=Action("hide-here" if peers.visible else "show-here"),
        checked=peers.visible,
    )
    problem = (
        [line("problem", cut(f"! {sanitize(peers.problem)}", LINE_CELLS), SHOW)] if peers.problem else []
    )
    lines = (is_seen, *problem, separator(1), *_paired(peers, backends), separator(2), *_discovered(peers))
    return [Item(key="peers", text="Peers", items=lines)]


def _paired(peers: PeersView, backends: Mapping[str, BackendView]) -> list[Item]:
    if not peers.peers:
        return [line("no-peer", "Paired with nobody yet")]
    lines = [_peer(peer, backends.get(peer.backend or "")) for peer in peers.peers[:PEERS_LISTED]]
    if (more := len(peers.peers) - PEERS_LISTED) > 0:
        lines.append(line("more-peers", f"{count(more, 'more peer')}…", SHOW))
    return lines


def _peer(peer: PeerView, backend: BackendView | None) -> Item:
    key, name = f"peer {peer.id}", _short(peer.name)
    if backend is None or not backend.enabled:
        return line(key, f"- {name}: not used here", SHOW)
    state = backend.health.state
    said = f"{STATES[state]} {name}: {state}"
    said += f", {count(len(backend.models), 'model')}" if state == "healthy" else ""
    return line(key, f"{said}, paused for it" if peer.paused else said, Action("open", backend.id))


def _discovered(peers: PeersView) -> list[Item]:
    if not peers.browse:
        return [line("nobody", "Not looking for other machines")]
    found = [one for one in peers.seen if one.can_pair]
    if not found:
        return [line("nobody", "No other machine to pair with is seen")]
    lines = [_sighting(one) for one in found[:SEEN_LISTED]]
    if (more := len(found) - SEEN_LISTED) > 0:
        lines.append(line("more-seen", f"{count(more, 'more machine')}…", SHOW))
    return lines


def _sighting(seen: SightingView) -> Item:
    # Two may call themselves alike: the beginning of the id tells them apart.
    return line(f"seen {seen.id}", f"Pair with {_short(seen.name)} ({sanitize(seen.short)})…", SHOW)


def _short(name: str) -> str:
    return shorten(sanitize(name), NAME_CELLS) or "Another machine"
