"""The link by which another machine pairs with this one, as text and as a picture in the terminal."""

import io
import sys

import click

from meshlight.desktop.paper import Paper, new_console
from meshlight.desktop.text import clean
from meshlight.domain.errors import BadRequest
from meshlight.domain.peer_view import PeersView
from meshlight.gateway.deep_link import LONGEST, PairLink, parse_host

BORDER = 2
"""Light modules around the code; a terminal adds some of its own."""


def print_link(view: PeersView, host: str) -> None:
    """Print a link for each of this machine's addresses, or for the one `host` by which others reach it."""
    if not view.visible or not view.door or not view.node_id:
        raise BadRequest(
            "This machine is hidden, so nobody could follow its link.",
            f"Show it with: meshlight peers visible on. {view.problem}".strip(),
        )
    hosts = _hosts(view, host)
    links = [_link(view, one) for one in hosts]
    if not sys.stdout.isatty():
        click.echo("\n".join(links))
        return
    console = new_console()
    if not Paper.of(console).ascii_only:
        console.print(picture(links[0]))
    click.echo(links[0])
    click.echo(
        "On the other machine: meshlight pair 'LINK', or open it there, or read the picture with a camera."
    )
    click.echo("It tells whose key to expect; both machines show six digits to compare all the same.")
    if len(links) > 1:
        others = ", ".join(hosts[1:])
        click.echo(
            f"If that address can't be reached from there: meshlight pair --link HOST, with one of {others}"
        )


def picture(text: str) -> str:
    """Draw a text as a QR code in half blocks, light on dark."""
    import segno  # noqa: PLC0415 -- only who draws pays for it

    drawn = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(drawn, border=BORDER, compact=True)
    return drawn.getvalue().rstrip("\n")


def _hosts(view: PeersView, host: str) -> tuple[str, ...]:
    if not host:
        if view.addresses:
            return view.addresses
        raise BadRequest(
            "No address of this machine on a network is known.",
            "Name one by which the other machine reaches it: meshlight pair --link HOST",
        )
    parsed = parse_host(host)
    if parsed is None:
        raise BadRequest(f"{clean(host)!r} is no host.", "Give a name or an IP address, without a port.")
    return (parsed,)


def _link(view: PeersView, host: str) -> str:
    named = PairLink(host=host, port=view.door, id=view.node_id, name=clean(view.name)).text
    return named if len(named) <= LONGEST else PairLink(host=host, port=view.door, id=view.node_id).text
