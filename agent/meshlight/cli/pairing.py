"""The commands `pair` and `unpair`, and the pairing link as text and as a QR code in the terminal."""

import io
import sys

import click
from msgspec import Struct

from meshlight.api_client.client import ApiClient
from meshlight.cli.output.console import WARN, TerminalStyle, new_console
from meshlight.cli.output.peers import discovered_hints, discovered_lines, local_node_lines
from meshlight.cli.output.status import message_lines
from meshlight.cli.pairing_flow import Answer, DigitComparison, ignoring_errors, under_way
from meshlight.cli.peers import find_peer, matches, single_match
from meshlight.cli.start import connect_or_start, start_option
from meshlight.desktop.tray.peers_menu import pairing_request
from meshlight.domain.errors import BadRequest, Conflict
from meshlight.domain.peers import PeersView, SightingView
from meshlight.domain.text import sanitize
from meshlight.gateway.control.qr import LONGEST, PairLink, parse_deep_link, parse_host

_PORTS = range(1, 65_536)


class PairingTarget(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The machine to pair with, as the local API takes it."""

    id: str = ""
    host: str = ""
    port: int = 0

    def as_body(self) -> dict[str, object]:
        """Return the fields that are not empty."""
        return {name: value for name in self.__struct_fields__ if (value := getattr(self, name))}


@click.command(
    epilog="""\b
Examples:
  meshlight pair                       choose from the machines found
  meshlight pair Bo
  meshlight pair 192.168.1.20
  meshlight pair --accept              on the other machine: wait for it
  meshlight pair --link                a link and QR code to pair by
  meshlight pair 'meshlight://pair?host=192.168.1.20&port=6376&id=…'

Both machines show six digits. If they are the same, confirm them on both within a minute.

In a script: `meshlight pair NAME` prints the digits and exits with 3; then run `meshlight pair --yes-digits 123456`.

Exit code: 0 paired, 1 not paired, 3 waiting for confirmation, 4 the service isn't running."""
)
@click.argument("who", nargs=-1, metavar="[NAME|HOST[:PORT]|LINK]")
@click.option("--accept", is_flag=True, help="Wait for a request from another machine.")
@click.option(
    "--visible", is_flag=True, help="With --accept: make this machine visible meanwhile, without asking."
)
@click.option("--yes-digits", metavar="DIGITS", help="Confirm if these are the digits, refuse if not.")
@click.option("--refuse", is_flag=True, help="Refuse the current pairing.")
@click.option("--link", is_flag=True, help="Print a link for pairing from the other machine.")
@start_option
@click.pass_context
def pair(
    ctx: click.Context,
    who: tuple[str, ...],
    *,
    accept: bool,
    visible: bool,
    yes_digits: str | None,
    refuse: bool,
    link: bool,
) -> None:
    """Pair this machine with another Meshlight, so that each can use the other's models.

    Without a name, it lists the machines found on this network, or continues the current pairing, such as a request
    from another machine.
    """
    name = " ".join(who)
    if accept + refuse + link > 1 or (name and (accept or refuse)) or (visible and not accept):
        raise BadRequest("These options can't be combined.", "For the options, see: meshlight pair --help")
    answer = Answer(yes_digits, is_interactive=sys.stdin.isatty(), waits=accept)
    with connect_or_start() as client:
        if link:
            print_link(client.peers(), name)
            return
        if refuse:
            client.refuse_pairing()
            click.echo("Refused. No machine was paired.")
            return
        code = _accept(client, answer, visible=visible) if accept else _pair(client, name, answer)
    ctx.exit(code)


@click.command(epilog="""\b\nExamples:\n  meshlight unpair Bo\n  meshlight unpair --yes 3fa941c0""")
@click.argument("who", nargs=-1, metavar="NAME", required=True)
@click.option("--yes", is_flag=True, help="Don't ask.")
@start_option
def unpair(who: tuple[str, ...], *, yes: bool) -> None:
    """End a pairing: neither machine can use the other's models any more.

    The other machine is notified at once, or when it connects next.
    """
    with connect_or_start() as client:
        peer = find_peer(client.peers().peers, " ".join(who))
        name = sanitize(peer.name)
        if not yes and sys.stdin.isatty():
            click.confirm(f"End the pairing with {name} ({peer.short})?", abort=True)
        client.unpair(peer.id)
    click.echo(f"Unpaired: {name} and this machine can't use each other's models any more.")


def _pair(client: ApiClient, name: str, answer: Answer) -> int:
    updates = client.follow_peers()
    view = next(updates)
    if not name:
        if under_way(view) is not None:
            return DigitComparison(client, updates, answer).run(view)
        if answer.digits is not None:
            raise BadRequest("There is no pairing to confirm.", "Give the name of the machine to pair with.")
        target = _choose(view, answer)
        if target is None:
            return 0
    else:
        target = _target(view, name)
    comparison = DigitComparison(client, updates, answer)
    with comparison.refusing_on_ctrl_c():
        try:
            view_after_request = client.ask_to_pair(target.as_body())
        except Conflict as error:
            raise Conflict(
                error.title, "To continue it: meshlight pair. To end it: meshlight pair --refuse"
            ) from error
        return comparison.run(view_after_request)


def _accept(client: ApiClient, answer: Answer, *, visible: bool) -> int:
    """Wait for a request from another machine; a hidden machine is visible for that time only."""
    updates = client.follow_peers()
    view = next(updates)
    was_hidden = not view.visible
    if was_hidden:
        if not visible and not answer.is_interactive:
            raise BadRequest(
                "This machine is hidden, so no other machine can ask it to pair.",
                "Make it visible meanwhile: --visible, or permanently: meshlight peers visible on",
            )
        question = "This machine is hidden. Make it visible on this network until it is paired?"
        if not visible and not click.confirm(question, default=True):
            click.echo("It stays hidden, so no other machine can ask it to pair.")
            return 1
        view = client.set_visibility(visible=True)
    comparison = DigitComparison(client, updates, answer)
    try:
        with comparison.refusing_on_ctrl_c():
            if pairing_request(view) is None:
                _print_waiting(view)
                view = comparison.wait("Waiting for another machine (end with Ctrl-C)", pairing_request)
            return comparison.run(view)
    finally:
        if was_hidden:
            with ignoring_errors():
                client.set_visibility(visible=False)


def _print_waiting(view: PeersView) -> None:
    console = new_console()
    style = TerminalStyle.of(console)
    console.print(local_node_lines(view, style)[0])
    if view.problem:
        console.print(*message_lines(WARN, view.problem, "", style), sep="\n")
    click.echo(f"On the other machine, run: meshlight pair {sanitize(view.name)}")
    if view.addresses:
        host = view.addresses[0]
        address = f"[{host}]:{view.door}" if ":" in host else f"{host}:{view.door}"
        click.echo(f"If that doesn't find this machine: meshlight pair {address}")


def _choose(view: PeersView, answer: Answer) -> PairingTarget | None:
    """List the discovered machines and ask for one; None if none was chosen."""
    console = new_console()
    style = TerminalStyle.of(console)
    sightings = [one for one in view.seen if one.can_pair]
    if sightings:
        console.print(*discovered_lines(sightings, style, numbered=answer.is_interactive), sep="\n")
    if not sightings or not answer.is_interactive:
        console.print(*discovered_hints(view, sightings, style), sep="\n")
        click.echo("Pair a machine that isn't found by its address: meshlight pair HOST")
        return None
    typed: str = click.prompt(
        "Pair with which (number, name or address; empty for none)", default="", show_default=False
    )
    typed = typed.strip()
    if not typed:
        return None
    if typed.isdecimal() and 1 <= int(typed) <= len(sightings):
        return PairingTarget(id=sightings[int(typed) - 1].id)
    return _target(view, typed)


def _target(view: PeersView, name: str) -> PairingTarget:
    """Return the machine that a user named by a link, a name or id, or an address."""
    if name.lower().startswith("meshlight:"):
        link = parse_deep_link(name)
        if not isinstance(link, PairLink):
            raise BadRequest(
                "This link adds a backend; it is not for pairing.", "Open it with: meshlight link '…'"
            )
        return PairingTarget(id=link.id, host=link.host, port=link.port)
    known = matches([one for one in view.seen if one.service == "meshlight"], name)
    if known:
        return _discovered(single_match(known, name))
    paired = matches(view.peers, name)
    if paired:
        raise Conflict(
            f"{sanitize(single_match(paired, name).name)} is paired already.",
            "See its state with: meshlight peers",
        )
    return _address(name)


def _discovered(one: SightingView) -> PairingTarget:
    name = sanitize(one.name)
    if one.is_paired:
        raise Conflict(f"{name} is paired already.", "See its state with: meshlight peers")
    if not one.can_pair:
        raise BadRequest(f"{name} can't be paired with now.", "On that machine, run: meshlight pair --accept")
    if one.conflict:
        console = new_console(stderr=True)
        console.print(*message_lines(WARN, one.conflict, "", TerminalStyle.of(console)), sep="\n")
    return PairingTarget(id=one.id)


def _address(name: str) -> PairingTarget:
    """Read `HOST`, `HOST:PORT`, `[V6]:PORT` or a bare IPv6 address."""
    text, port = name.strip(), ""
    if parse_host(text) is None:
        text, _, port = text.rpartition(":")
    host = parse_host(text)
    if host is None or (port and not (port.isdecimal() and int(port) in _PORTS)):
        raise BadRequest(
            f"No machine called {sanitize(name)!r} was found, and it is not an address.",
            "`meshlight peers` lists the machines found. An address looks like 192.168.1.20 or box.lan:6376.",
        )
    if host.isalpha():
        click.echo(f"No machine called {sanitize(name)!r} was found; trying it as an address.", err=True)
    return PairingTarget(host=host, port=int(port) if port else 0)


BORDER = 2
"""Light modules around the QR code; the terminal's own margin adds to them."""


def print_link(view: PeersView, host: str) -> None:
    """Print a link for each of this machine's addresses, or only for `host`; at a terminal, with a QR code."""
    if not view.visible or not view.door or not view.node_id:
        raise BadRequest(
            "This machine is hidden, so no other machine could use its link.",
            f"Show it with: meshlight peers visible on. {view.problem}".strip(),
        )
    hosts = _hosts(view, host)
    links = [_link(view, one) for one in hosts]
    if not sys.stdout.isatty():
        click.echo("\n".join(links))
        return
    console = new_console()
    if not TerminalStyle.of(console).ascii_only:
        console.print(picture(links[0]))
    click.echo(links[0])
    click.echo("On the other machine, run: meshlight pair 'LINK', or open the link, or scan the QR code.")
    click.echo("The link names this machine's key. Both machines still show six digits to compare.")
    if len(links) > 1:
        others = ", ".join(hosts[1:])
        click.echo(
            f"If the other machine can't reach that address: meshlight pair --link HOST, with one of {others}"
        )


def picture(text: str) -> str:
    """Return a text as a QR code of half blocks, light on dark."""
    import segno  # noqa: PLC0415 -- only needed here

    drawn = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(drawn, border=BORDER, compact=True)
    return drawn.getvalue().rstrip("\n")


def _hosts(view: PeersView, host: str) -> tuple[str, ...]:
    if not host:
        if view.addresses:
            return view.addresses
        raise BadRequest(
            "This machine has no known network address.",
            "Give the address by which the other machine can reach it: meshlight pair --link HOST",
        )
    parsed = parse_host(host)
    if parsed is None:
        raise BadRequest(
            f"{sanitize(host)!r} is not a host.", "Give a name or an IP address, without a port."
        )
    return (parsed,)


def _link(view: PeersView, host: str) -> str:
    name = PairLink(host=host, port=view.door, id=view.node_id, name=sanitize(view.name)).text
    return name if len(name) <= LONGEST else PairLink(host=host, port=view.door, id=view.node_id).text
