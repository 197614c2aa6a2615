"""How two nodes come to trust each other: what people compare, what the nodes sign, and the steps of a pairing.

The requesting side commits to its nonce before it knows the other's. An attacker in between has to use a certificate
of its own towards each side, so the digits of the two sides are computed from different transcripts; and as each of
the attacker's nonces is fixed before the last part of either transcript is known, guessing is all that is left: one
in a million.
"""

import hashlib
from hmac import compare_digest
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from meshlight.domain.errors import PairingError
from meshlight.domain.peers import PairingState
from meshlight.domain.text import sanitize

LIMIT_S = 60.0
"""Seconds that two people have, from the first message on."""
NONCE_BYTES = 32
NAME_LENGTH = 80
TRIES, TRIES_WITHIN_S, SHUT_S = 3, 600.0, 600.0
_DIGITS = b"meshlight pairing 1"
_SIGNED = b"meshlight pairing 1 confirmed by the "

Role = Literal["asking", "asked"]
PairingEnding = Literal[
    "busy",
    "shut",
    "closed",
    "refused-here",
    "refused-there",
    "broken-there",
    "late",
    "lost",
    "unreachable",
    "garbage",
    "version",
    "certificate",
    "commitment",
    "signature",
    "other-key",
    "own-key",
]

_MESSAGES: dict[PairingEnding, tuple[str, str]] = {
    "busy": ("{} is being paired with somebody else.", "Try again in a minute."),
    "shut": (
        "{} accepts no pairing requests for now: too many have failed.",
        "Try again in ten minutes. If neither of you has tried, somebody else on the network has.",
    ),
    "closed": ("{} is not visible any more.", "Make it visible again, and start a new pairing."),
    "refused-here": (
        "The pairing with {} was refused here.",
        "If the digits differed, somebody may be in between.",
    ),
    "refused-there": (
        "The pairing was refused on {}.",
        "If the digits differed, somebody may be in between.",
    ),
    "broken-there": (
        "{} ended the pairing, because something in it was wrong.",
        "Start a new pairing. If this happens again, somebody may be in between.",
    ),
    "late": ("The pairing with {} was not confirmed on both machines in time.", "Start a new pairing."),
    "lost": ("The connection to {} ended before the pairing was complete.", "Start a new pairing."),
    "unreachable": (
        "Nothing accepts pairing requests at {}.",
        "Make that machine visible, and check that its firewall allows port 6376.",
    ),
    "garbage": (
        "{} does not speak Meshlight's pairing protocol.",
        "Check the address, and the version there.",
    ),
    "version": ("{} speaks another version of the pairing protocol.", "Update Meshlight on both machines."),
    "certificate": (
        "{} has a certificate that is not one of Meshlight's.",
        "Update Meshlight on both machines.",
    ),
    "commitment": (
        "{} sent another number than the one that it had committed to.",
        "Somebody may be in between: do not pair over this network.",
    ),
    "signature": (
        "{} could not prove that it has its key.",
        "Somebody may be in between: do not pair over this network.",
    ),
    "other-key": (
        "{} does not have the key that the link names.",
        "Make a new link there. If it is new, somebody may be posing as that machine.",
    ),
    "own-key": (
        "{} has the key of this machine.",
        "It is this machine, or its settings were copied: delete the key of one of the two.",
    ),
}
_INNOCENT: frozenset[PairingEnding] = frozenset({"late", "closed", "busy"})
"""Endings that the asked side decides by itself: see `FailedTries`."""


class Transcript(Struct, frozen=True, kw_only=True):
    """What must be the same on both sides: certificates (DER) and nonces."""

    asking_certificate: bytes
    asked_certificate: bytes
    asking_nonce: bytes
    asked_nonce: bytes

    @property
    def digits(self) -> str:
        """The six digits that two people compare."""
        return f"{int.from_bytes(self._digest(_DIGITS), 'big') % 1_000_000:06d}"

    def statement(self, role: Role) -> bytes:
        """Return the text that a side signs once its user has confirmed; each side signs another text."""
        return _SIGNED + role.encode() + b"\n" + self._digest(_SIGNED)

    def _digest(self, label: bytes) -> bytes:
        parts = (
            label,
            self.asking_certificate,
            self.asked_certificate,
            self.asking_nonce,
            self.asked_nonce,
        )
        # Each part with its length, so that no two transcripts give the same text.
        return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


def commitment(nonce: bytes, certificate: bytes) -> bytes:
    """Return the commitment of the asking side to a nonce that it has not sent yet."""
    return hashlib.sha256(nonce + certificate).digest()


def matches_commitment(committed: bytes, nonce: bytes, certificate: bytes) -> bool:
    """Whether a nonce is the one that was committed to."""
    return len(nonce) == NONCE_BYTES and compare_digest(committed, commitment(nonce, certificate))


def other_role(role: Role) -> Role:
    """Return the role of the other side."""
    return "asked" if role == "asking" else "asking"


def clean_name(text: str) -> str:
    """Return the name of another machine, safe to show, at most 80 characters; never empty."""
    return sanitize(text, NAME_LENGTH) or "unnamed"


def failure(ending: PairingEnding, name: str) -> PairingError:
    """Return the error for people of an ending; `name` is the other side's."""
    title, hint = _MESSAGES[ending]
    return PairingError(ending, title.format(name), hint)


class PairingProgress(Struct, frozen=True, kw_only=True):
    """The progress of one side of a pairing. A step out of order ends it, and an ended pairing never goes on."""

    role: Role
    ends_at: float
    """When it times out, in monotonic seconds."""
    state: PairingState = "waiting"
    digits: str = ""
    is_confirmed_there: bool = False
    is_done_there: bool = False
    """Whether the other side knows that both have confirmed."""
    ending: PairingEnding | None = None

    def met(self, digits: str) -> "PairingProgress":
        """Return the progress once both nonces are known."""
        return replace(self, state="comparing", digits=digits) if self.state == "waiting" else self

    def confirm(self) -> "PairingProgress":
        """Return the progress once the user here has confirmed the digits; only valid once there are digits."""
        return replace(self, state="confirmed") if self.state == "comparing" else self

    def confirmed_there(self) -> "PairingProgress":
        """Return the progress once the other user has confirmed, with a valid signature."""
        if self.state not in {"comparing", "confirmed"} or self.is_confirmed_there:
            return self.end("garbage")
        return replace(self, is_confirmed_there=True)

    def done_there(self) -> "PairingProgress":
        """Return the progress once the other side knows that both have confirmed; ends it before that."""
        if not self.is_agreed or self.is_done_there:
            return self.end("garbage")
        return replace(self, is_done_there=True, state="paired")

    def end(self, ending: PairingEnding) -> "PairingProgress":
        """Return the progress of a pairing that failed."""
        return self if self.is_over else replace(self, state="over", ending=ending)

    def at(self, now: float) -> "PairingProgress":
        """Return the progress at `now`, in monotonic seconds."""
        return self.end("late") if now >= self.ends_at else self

    @property
    def is_agreed(self) -> bool:
        """Whether both people have confirmed."""
        return self.state == "confirmed" and self.is_confirmed_there

    @property
    def is_over(self) -> bool:
        """Whether nothing can change any more."""
        return self.state in {"paired", "over"}


class FailedTries(Struct, frozen=True):
    """The failed attempts to pair with this node: after three within ten minutes it accepts none for ten minutes.

    Each ending after the asked side has sent its nonce counts, also a broken connection: an attacker in between knows
    the digits by then, and would otherwise try again until they match. A timeout does not count, because each takes a
    minute; nor does a refusal because the user here is busy, as no digits could have been confirmed then.
    """

    failed_at: tuple[float, ...] = ()
    shut_until: float = float("-inf")

    def after(self, ending: PairingEnding, now: float) -> "FailedTries":
        """Return the attempts with one more ending, at `now` in monotonic seconds."""
        if ending in _INNOCENT:
            return self
        recent = (*(at for at in self.failed_at if now - at < TRIES_WITHIN_S), now)
        return FailedTries((), now + SHUT_S) if len(recent) >= TRIES else FailedTries(recent, self.shut_until)

    def is_shut(self, now: float) -> bool:
        """Whether no attempt is accepted at `now`."""
        return now < self.shut_until
