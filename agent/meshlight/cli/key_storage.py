"""Asks, where there is no keyring, whether keys may be kept in a file."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click

from meshlight.api_client.client import ApiClient
from meshlight.domain.config import KeyStorage
from meshlight.domain.errors import SecretError

T = TypeVar("T")

QUESTION = "This machine has no keyring. Keep keys in a file only you can read ({file})?"


def choose_storage(file: Path | str) -> KeyStorage | None:
    """Ask at a terminal where keys are kept, and return the choice; None where nobody can answer."""
    if not sys.stdin.isatty():
        return None
    return "file" if click.confirm(QUESTION.format(file=file), default=False) else "keyring"


def with_storage(client: ApiClient, act: Callable[[], T]) -> T:
    """Do what may need the keyring; where there is none and the user has not chosen yet, ask, and try again."""
    try:
        return act()
    except SecretError:
        if not client.settings().asks_key_storage:
            raise
        choice = choose_storage(client.keyring().file)
        if choice is not None:
            client.change_settings({"key_storage": choice})
        if choice != "file":
            raise
    return act()
