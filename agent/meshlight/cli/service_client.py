"""Helpers of most commands: connect to the service, find a backend by name or id, print JSON."""

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
    """Return a client of this user's running service; raises ServiceError if it isn't running."""
    paths = Paths.here()
    paths.check()
    return ApiClient.connect(paths.runtime_file)


def pick_backend(backends: Sequence[BackendView], name: str) -> BackendView:
    """Return the backend with this id or name (ignoring case); raises NotFound with similar names."""
    for backend in backends:
        if backend.id == name:
            return backend
    found = [b for b in backends if b.name == name] or [
        b for b in backends if b.name.casefold() == name.casefold()
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise NotFound(
            f"{len(found)} backends are called {name!r}.",
            f"Name one by its id: {', '.join(b.id for b in found)}.",
        )
    names = [b.name for b in backends]
    similar = get_close_matches(name, names, n=3, cutoff=0.6)
    hint = (
        f"Did you mean {' or '.join(similar)}?"
        if similar
        else "See their names with: meshlight backends list"
    )
    raise NotFound(f"No backend is called {name!r}.", hint)


def print_json(value: object, *, indent: int | None = 2) -> None:
    """Print a value as JSON in pure ASCII, so that no name can send control characters to the terminal."""
    click.echo(json.dumps(msgspec.to_builtins(value), indent=indent, ensure_ascii=True))
