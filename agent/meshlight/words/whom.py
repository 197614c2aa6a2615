"""Another Meshlight as a person names it: by its name, its id, or the beginning of that."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Protocol, TypeVar

from meshlight.desktop.text import clean
from meshlight.domain.errors import BadRequest, NotFound

PREFIX = 4
"""Digits of an id that are enough to name it by; fewer are a name."""
_HEX = frozenset("0123456789abcdef")


class Named(Protocol):
    """What can be named."""

    @property
    def id(self) -> str:
        """Its node id."""

    @property
    def name(self) -> str:
        """What it calls itself."""


N = TypeVar("N", bound=Named)


def matches(found: Sequence[N], said: str) -> list[N]:
    """Return those that are meant by name or by id, case aside.

    Both ways count alike: a name that looks like another machine's id must not take its place, nor an id that of a
    name.
    """
    wanted = clean(said)
    digits = wanted.replace(" ", "").lower()
    is_id = len(digits) >= PREFIX and _HEX.issuperset(digits)
    exact = [one for one in found if one.id == digits]
    if exact:
        return exact
    return [
        one
        for one in found
        if clean(one.name).casefold() == wanted.casefold() or (is_id and one.id.startswith(digits))
    ]


def only(found: Sequence[N], said: str) -> N:
    """Return the one that is meant; BadRequest when it may be several."""
    if len(found) > 1:
        ids = ", ".join(one.id[: _telling(found)] for one in found)
        raise BadRequest(
            f"{len(found)} machines can be meant by {clean(said)!r}.", f"Name one by its id: {ids}."
        )
    return found[0]


def peer_named(peers: Sequence[N], said: str) -> N:
    """Return the peer that is meant; NotFound, with the names near it, when there is none."""
    found = matches(peers, said)
    if not found:
        if not peers:
            raise NotFound("This machine is paired with nobody yet.", "Pair it with: meshlight pair")
        near = get_close_matches(clean(said), [clean(one.name) for one in peers], n=3, cutoff=0.6)
        hint = f"Did you mean {' or '.join(near)}?" if near else "See their names with: meshlight peers"
        raise NotFound(f"No peer is called {clean(said)!r}.", hint)
    return only(found, said)


def _telling(found: Sequence[Named]) -> int:
    """Return how many digits tell the ids apart, at least as many as people are shown."""
    return next((n for n in range(8, 64) if len({one.id[:n] for one in found}) == len(found)), 64)
