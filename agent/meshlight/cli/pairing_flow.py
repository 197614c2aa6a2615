"""The pairing at a terminal, from its digits to its result: show them, ask, and wait for the other machine."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import click
from msgspec import Struct

from meshlight.api_client.client import ApiClient
from meshlight.cli.output.console import BAD, GOOD, TerminalStyle, new_console
from meshlight.cli.output.peers import large_digits, terms_text
from meshlight.cli.output.status import message_lines
from meshlight.desktop.tray.peers_menu import digits_text
from meshlight.domain.errors import MeshlightError, ServiceError
from meshlight.domain.peers import PairingView, PeersView, PeerView
from meshlight.domain.text import count, duration, sanitize

PAIRED, NOT_PAIRED, UNANSWERED = 0, 1, 3
SAVE_TRIES, SAVE_PAUSE_S = 100, 0.1
"""After both have confirmed, the new peer is saved; this is how long we wait for that."""


class Answer(Struct, frozen=True):
    """How to answer whether the digits are the same: by given digits, or by asking the user."""

    digits: str | None
    is_interactive: bool
    waits: bool = False
    """Whether to wait for an answer that is given elsewhere, if none can be given here."""

    def says_yes(self, shown: str) -> bool | None:
        """Return whether these are the digits; None if nobody can answer."""
        if self.digits is not None:
            return "".join(glyph for glyph in self.digits if glyph.isalnum()) == shown
        return (
            click.confirm("Do both machines show the same digits?", default=False)
            if self.is_interactive
            else None
        )


class DigitComparison:
    """Continues the current pairing; `updates` yields its state after each change."""

    def __init__(self, client: ApiClient, updates: Iterator[PeersView], answer: Answer) -> None:
        self._client = client
        self._updates = updates
        self._answer = answer
        self._console = new_console()

    def run(self, view: PeersView) -> int:
        """Show the digits, ask, and wait for the other side; return the exit code."""
        pairing = view.pairing
        if pairing is None or not pairing.digits:
            view = self.wait("Waiting for the other machine", lambda v: v.pairing and v.pairing.digits)
            pairing = view.pairing
        if pairing is None:
            raise ServiceError("The service ended the pairing without a reason.", "Try again: meshlight pair")
        with self.refusing_on_ctrl_c():
            self._show(pairing)
            if pairing.state == "comparing":
                code = self._confirm(pairing)
                if code is not None:
                    return code
            elif self._answer.digits is not None and not self._answer.says_yes(pairing.digits):
                return self._refuse()
            return self._end(pairing)

    def wait(self, text: str, holds: Callable[[PeersView], object]) -> PeersView:
        """Wait visibly until the condition holds; raises ServiceError when the service ends."""
        if not self._console.is_terminal or self._console.is_dumb_terminal:
            self._console.print(f"{text}…")
            return next(view for view in self._updates if holds(view))
        with self._console.status(f"{text}…"):
            return next(view for view in self._updates if holds(view))

    @contextmanager
    def refusing_on_ctrl_c(self) -> Iterator[None]:
        """Let Ctrl-C end the pairing on both machines."""
        try:
            yield
        except (KeyboardInterrupt, click.Abort):
            with ignoring_errors():
                self._client.refuse_pairing()
            click.echo("\nEnded. No machine was paired.")
            click.get_current_context().exit(NOT_PAIRED)

    def _show(self, pairing: PairingView) -> None:
        name = sanitize(pairing.name)
        if pairing.state != "comparing":
            # It was confirmed in another window.
            click.echo(f"This machine has confirmed. Now confirm these digits on {name}:")
        elif pairing.role == "asked":
            click.echo(f"{name} asks to pair. Compare these digits with those on {name}:")
        else:
            click.echo(f"{name} shows six digits now. Compare them with these:")
        style = TerminalStyle.of(self._console)
        digits = digits_text(pairing.digits)
        self._console.print("", *large_digits(pairing.digits, style), f"\n  {digits}\n", sep="\n")

    def _confirm(self, pairing: PairingView) -> int | None:
        """Ask the user here; return None to continue, or the exit code."""
        if self._answer.digits is None and self._answer.is_interactive and pairing.left_s:
            click.echo(f"Both sides must confirm within {duration(pairing.left_s)}.")
        is_same = self._answer.says_yes(pairing.digits)
        if is_same is None:
            click.echo(f"If they are the same, run: meshlight pair --yes-digits {sanitize(pairing.digits)}")
            click.echo("If not, run: meshlight pair --refuse")
            return None if self._answer.waits else UNANSWERED
        if not is_same:
            return self._refuse()
        try:
            self._client.confirm_pairing()
        except ServiceError:
            raise
        except MeshlightError:
            ended = self._client.peers().pairing
            if ended is None or ended.digits != pairing.digits or not ended.why:
                raise
            return self._over(ended)
        return None

    def _refuse(self) -> int:
        with ignoring_errors():
            self._client.refuse_pairing()
        text = "Refused: no machine was paired."
        fix = "If the digits differed, the connection may be intercepted: try again on a network that you trust."
        self._console.print(*message_lines(BAD, text, fix, TerminalStyle.of(self._console)), sep="\n")
        return NOT_PAIRED

    def _end(self, pairing: PairingView) -> int:
        """Wait for the other machine, print the result, and return the exit code."""

        def is_over(view: PeersView) -> bool:
            now = view.pairing
            return now is not None and now.digits == pairing.digits and now.state in {"paired", "over"}

        view = self._client.peers()
        if not is_over(view):
            view = self.wait(f"Waiting for confirmation on {sanitize(pairing.name)}", is_over)
        ended = view.pairing
        if ended is None or ended.state != "paired":
            return self._over(ended or pairing)
        self._report_paired(ended)
        return PAIRED

    def _over(self, ended: PairingView) -> int:
        self._console.print(
            *message_lines(BAD, ended.why or "The pairing has ended.", "", TerminalStyle.of(self._console)),
            sep="\n",
        )
        return NOT_PAIRED

    def _report_paired(self, pairing: PairingView) -> None:
        style = TerminalStyle.of(self._console)
        name = sanitize(pairing.name)
        self._console.print(*message_lines(GOOD, f"Paired with {name}.", "", style), sep="\n")
        peer = self._wait_for_peer(pairing.id)
        if peer is None:
            click.echo("See its state with: meshlight peers")
            return
        click.echo("You can use its models like those of any backend: meshlight models")
        model_count = count(len(peer.sees_models), "model")
        limit = count(peer.max_in_flight, "request")
        click.echo(f"It may use {terms_text(peer)} ({model_count} now), {limit} at once.")
        click.echo(f"Change that with: meshlight peers share {peer.id[:8]}")

    def _wait_for_peer(self, peer_id: str) -> PeerView | None:
        """Return the new peer once it is saved; None if that takes too long."""
        pause = threading.Event()
        for _ in range(SAVE_TRIES):
            found = next((peer for peer in self._client.peers().peers if peer.id == peer_id), None)
            if found is not None and found.backend is not None:
                return found
            pause.wait(SAVE_PAUSE_S)
        return None


def under_way(view: PeersView) -> PairingView | None:
    """Return the current pairing, or None if it has ended."""
    pairing = view.pairing
    return None if pairing is None or pairing.state in {"paired", "over"} else pairing


@contextmanager
def ignoring_errors() -> Iterator[None]:
    """Ignore errors of the service during cleanup."""
    with suppress(MeshlightError):
        yield
