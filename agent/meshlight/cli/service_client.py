"""What most words begin or end with: the running service, a backend named by a person, JSON for programs."""

import json
from collections.abc import Sequence
from difflib import get_close_matches

import click
import msgspec

from meshlight.api_client.client import ApiClient
from meshlight.domain.api_types import BackendView
from meshlight.domain.errors import NotFound
from meshlight.storage.paths import Paths


def connect_service() -> ApiClient:
    """Return the running service of this user; raises ServiceError when it isn't running."""
    places = Paths.here()
    places.check()
    return ApiClient.connect(places.runtime_file)


def pick_backend(backends: Sequence[BackendView], named: str) -> BackendView:
    """Return the backend with this id or name (case aside); raise NotFound with the names near it."""
    for backend in backends:
        if backend.id == named:
            return backend
    found = [b for b in backends if b.name == named] or [
        b for b in backends if b.name.casefold() == named.casefold()
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(
            f"{len(found)} backends are called {named!r}.",
            f"Name one by its id: {', '.join(b.id for b in found)}.",
        )
    names = [b.name for b in backends]
    near = get_close_matches(named, names, n=3, cutoff=0.6)
    hint = f"Did you mean {' or '.join(near)}?" if near else "See their names with: meshlight backends list"
    raise NotFound(f"No backend is called {named!r}.", hint)


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print a value as JSON in pure ASCII: a name can't smuggle control characters into the terminal."""
    click.echo(json.dumps(msgspec.to_builtins(value), indent=indent, ensure_ascii=True))
