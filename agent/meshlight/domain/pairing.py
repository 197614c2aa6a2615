"""How two nodes come to trust each other: what is compared, what is signed, and who may do what when.

The one that asks commits itself to its nonce before it has seen the other's. Somebody between the two has to
speak to each side with a certificate of its own, so the digits of the two sides are those of different texts; and
as each of its nonces is fixed before it learns the last part of either text, it can only guess: one in a million.
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
"""How long two people have, from the first word on."""
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

_WORDS: dict[PairingEnding, tuple[str, str]] = {
    "busy": ("{} is being paired with somebody else.", "Try again in a minute."),
    "shut": (
        "{} takes no requests to pair for now: too many have failed.",
        "Try again in ten minutes. If nobody of you has tried, somebody else on the network has.",
    ),
    "closed": ("{} lets itself be seen no longer.", "Let it be seen again, and ask anew."),
    "refused-here": (
        "The pairing with {} was refused here.",
        "If the digits differed, somebody may be in between.",
    ),
    "refused-there": (
        "The pairing was refused on {}.",
        "If the digits differed, somebody may be in between.",
    ),
    "broken-there": (
        "{} ended the pairing, because it found something wrong in it.",
        "Ask anew. If it stays so, somebody may be in between.",
    ),
    "late": ("The pairing with {} was not confirmed on both machines in time.", "Ask anew."),
    "lost": ("The connection to {} ended before the pairing was done.", "Ask anew."),
    "unreachable": (
        "Nobody takes requests to pair at {}.",
        "Let that machine be seen, and check that its firewall lets port 6376 through.",
    ),
    "garbage": (
        "{} does not speak Meshlight's pairing protocol.",
        "Check the address, and the version there.",
    ),
    "version": ("{} speaks another version of the pairing protocol.", "Update Meshlight on both machines."),
    "certificate": (
        "{} shows a certificate that is none of Meshlight's.",
        "Update Meshlight on both machines.",
    ),
    "commitment": (
        "{} broke its word: its number is not the one that it had promised.",
        "Somebody may be in between: do not pair over this network.",
    ),
    "signature": (
        "{} could not prove that its key is its own.",
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
"""Endings that the asked side decides on by itself: see `FailedTries`."""


class Transcript(Struct, frozen=True, kw_only=True):
    """What both sides have to have seen alike: certificates (DER) and nonces."""

    asking_certificate: bytes
    asked_certificate: bytes
    asking_nonce: bytes
    asked_nonce: bytes

    @property
    def digits(self) -> str:
        """The six digits that two people compare."""
        return f"{int.from_bytes(self._digest(_DIGITS), 'big') % 1_000_000:06d}"

    def statement(self, role: Role) -> bytes:
        """Return what a side signs when its person has confirmed; the other side's is another text."""
        return _SIGNED + role.encode() + b"\n" + self._digest(_SIGNED)

    def _digest(self, label: bytes) -> bytes:
        parts = (
            label,
            self.asking_certificate,
            self.asked_certificate,
            self.asking_nonce,
            self.asked_nonce,
        )
        # Each with its length, so that no two transcripts are the same text.
        return hashlib.sha256(b"".join(len(part).to_bytes(4, "big") + part for part in parts)).digest()


def commitment(nonce: bytes, certificate: bytes) -> bytes:
    """Return what binds the side that asks to a nonce before it shows it."""
    return hashlib.sha256(nonce + certificate).digest()


def matches_commitment(promised: bytes, nonce: bytes, certificate: bytes) -> bool:
    """Whether a nonce is the one that was promised."""
    return len(nonce) == NONCE_BYTES and compare_digest(promised, commitment(nonce, certificate))


def other_role(role: Role) -> Role:
    """Return the role of the other side."""
    return "asked" if role == "asking" else "asking"


def clean_name(text: str) -> str:
    """Return the name of another machine, safe to show, at most 80 characters; never empty."""
    return sanitize(text, NAME_LENGTH) or "unnamed"


def failure(ending: PairingEnding, name: str) -> PairingError:
    """Put an ending into words; `name` is the other side's."""
    title, hint = _WORDS[ending]
    return PairingError(ending, title.format(name), hint)


class PairingProgress(Struct, frozen=True, kw_only=True):
    """How far one side of a pairing has come. A fact that is out of turn ends it, and an end is for ever."""

    role: Role
    ends_at: float
    """When it ends by itself, in monotonic seconds."""
    state: PairingState = "waiting"
    digits: str = ""
    is_confirmed_there: bool = False
    is_done_there: bool = False
    """Whether the other side knows that both have confirmed."""
    ending: PairingEnding | None = None

    def met(self, digits: str) -> "PairingProgress":
        """Both nonces are known."""
        return replace(self, state="comparing", digits=digits) if self.state == "waiting" else self

    def confirm(self) -> "PairingProgress":
        """Take the word of the person here: the digits are the same. Only once there are any."""
        return replace(self, state="confirmed") if self.state == "comparing" else self

    def confirmed_there(self) -> "PairingProgress":
        """Take the word of the other person; its signature was found good."""
        if self.state not in {"comparing", "confirmed"} or self.is_confirmed_there:
            return self.end("garbage")
        return replace(self, is_confirmed_there=True)

    def done_there(self) -> "PairingProgress":
        """Learn that the other side has what it needs; it can't before both have confirmed."""
        if not self.is_agreed or self.is_done_there:
            return self.end("garbage")
        return replace(self, is_done_there=True, state="paired")

    def end(self, ending: PairingEnding) -> "PairingProgress":
        """End without a pairing."""
        return self if self.is_over else replace(self, state="over", ending=ending)

    def at(self, now: float) -> "PairingProgress":
        """Let time pass."""
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
    """The failed tries at a door: after three within ten minutes it stays shut for ten.

    To be told of each end after the asked side has shown its nonce, also of a connection that broke off: whoever
    is in between knows the digits by then, and would otherwise go on asking until they are the wanted ones. A
    minute that passed does not count, because nobody can have many of those; nor does being turned away because
    the person here is busy, as no digits would have been the right ones then.
    """

    failed_at: tuple[float, ...] = ()
    shut_until: float = float("-inf")

    def after(self, ending: PairingEnding, now: float) -> "FailedTries":
        """Count an ending, at monotonic seconds."""
        if ending in _INNOCENT:
            return self
        recent = (*(at for at in self.failed_at if now - at < TRIES_WITHIN_S), now)
        return FailedTries((), now + SHUT_S) if len(recent) >= TRIES else FailedTries(recent, self.shut_until)

    def is_shut(self, now: float) -> bool:
        """Whether nobody may try now."""
        return now < self.shut_until
