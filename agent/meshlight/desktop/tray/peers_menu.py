"""The tray's submenu of other Meshlights, and the texts of a pairing request. Pure functions."""

from collections.abc import Mapping

from meshlight.desktop.tray.menu_items import LINE_CELLS, STATES, Action, Item, line, separator
from meshlight.desktop.tray.notifications import LINE_CELLS as NOTE_CELLS
from meshlight.desktop.tray.notifications import TITLE_CELLS, Notification
from meshlight.desktop.window.launcher import PEERS_NODE
from meshlight.domain.api_types import BackendView, SnapshotView
from meshlight.domain.peers import PairingView, PeersView, PeerView, SightingView
from meshlight.domain.text import count, cut, sanitize, shorten

SEEN_LISTED = 12
PEERS_LISTED = 12
NAME_CELLS = 32
OPEN_PEERS = Action("open", PEERS_NODE)


def pairing_request(peers: PeersView | None) -> PairingView | None:
    """Return the pairing request that waits for an answer on this machine; None if there is none."""
    pairing = None if peers is None else peers.pairing
    return pairing if pairing and pairing.role == "asked" and pairing.state == "comparing" else None


def request_text(pairing: PairingView) -> str:
    """Return a line such as `Bo asks to pair: 123 456`."""
    return f"{_short_name(pairing.name)} asks to pair: {digits_text(pairing.digits)}"


def request_notification(pairing: PairingView) -> Notification:
    """Return the notification of a pairing request."""
    body = "Do both machines show these digits? Click here to answer, or run: meshlight pair"
    return Notification(cut(request_text(pairing), TITLE_CELLS), cut(body, NOTE_CELLS))


def digits_text(digits: str) -> str:
    """Return six digits in two groups: `123 456`."""
    return f"{sanitize(digits)[:3]} {sanitize(digits)[3:6]}".strip()


def request_line(peers: PeersView | None) -> list[Item]:
    """Return the first line of the menu while a pairing request waits."""
    pairing = pairing_request(peers)
    return (
        []
        if pairing is None
        else [line("request", cut(f"! {request_text(pairing)}", LINE_CELLS), OPEN_PEERS)]
    )


def peers_menu(peers: PeersView | None, view: SnapshotView | None) -> list[Item]:
    """Return the submenu of other machines; nothing for a service without peers."""
    if peers is None:
        return []
    backends = {backend.id: backend for backend in view.backends} if view else {}
    visibility = Item(
        key="visible",
        text="Visible on this network",
        action=Action("hide-here" if peers.visible else "show-here"),
        checked=peers.visible,
    )
    problem = (
        [line("problem", cut(f"! {sanitize(peers.problem)}", LINE_CELLS), OPEN_PEERS)]
        if peers.problem
        else []
    )
    lines = (visibility, *problem, separator(1), *_paired(peers, backends), separator(2), *_discovered(peers))
    return [Item(key="peers", text="Peers", items=lines)]


def _paired(peers: PeersView, backends: Mapping[str, BackendView]) -> list[Item]:
    if not peers.peers:
        return [line("no-peer", "No paired machines yet")]
    lines = [_peer(peer, backends.get(peer.backend or "")) for peer in peers.peers[:PEERS_LISTED]]
    if (more := len(peers.peers) - PEERS_LISTED) > 0:
        lines.append(line("more-peers", f"{count(more, 'more peer')}…", OPEN_PEERS))
    return lines


def _peer(peer: PeerView, backend: BackendView | None) -> Item:
    key, name = f"peer {peer.id}", _short_name(peer.name)
    if backend is None or not backend.enabled:
        return line(key, f"- {name}: not used here", OPEN_PEERS)
    state = backend.health.state
    text = f"{STATES[state]} {name}: {state}"
    text += f", {count(len(backend.models), 'model')}" if state == "healthy" else ""
    return line(key, f"{text}, paused for it" if peer.paused else text, Action("open", backend.id))


def _discovered(peers: PeersView) -> list[Item]:
    if not peers.browse:
        return [line("nobody", "Search for other machines is off")]
    found = [one for one in peers.seen if one.can_pair]
    if not found:
        return [line("nobody", "No other machines found to pair with")]
    lines = [_discovered_line(one) for one in found[:SEEN_LISTED]]
    if (more := len(found) - SEEN_LISTED) > 0:
        lines.append(line("more-seen", f"{count(more, 'more machine')}…", OPEN_PEERS))
    return lines


def _discovered_line(seen: SightingView) -> Item:
    # Two machines may have the same name: the start of the id distinguishes them.
    return line(
        f"seen {seen.id}", f"Pair with {_short_name(seen.name)} ({sanitize(seen.short)})…", OPEN_PEERS
    )


def _short_name(name: str) -> str:
    return shorten(sanitize(name), NAME_CELLS) or "Another machine"
