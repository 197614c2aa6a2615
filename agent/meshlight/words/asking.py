"""Asking a person at a terminal for what a kind of backend needs; a program is told what is missing instead."""

import sys
from collections.abc import Mapping

import click

from meshlight.backends.kind import BackendKind, Field
from meshlight.domain.errors import BadRequest

_WAYS = {
    "url": "Give its address behind the kind: meshlight backends add {kind} URL",
    "api_key": "Pipe it in with --key-stdin, or let --key ask for it.",
    "access_key": "Give it with --access-key.",
    "ca_file": "Give it with --ca-file.",
}
"""What a kind may ask for that is text, and how it is given without being asked."""


def ask(kind: BackendKind, given: Mapping[str, object], *, may_ask: bool) -> dict[str, object]:
    """Return what was given and what a person then typed.

    With an address given, only what the kind can't do without is asked for. Where nobody may be asked, BadRequest
    names the option that is missing.
    """
    said = dict(given)
    asks_all = "url" not in given
    for field in kind.fields:
        if field.name in said or field.name not in _WAYS:
            continue
        usual = field.default or (kind.default_url if field.name == "url" else "")
        is_needed = field.required and not usual
        if may_ask and (is_needed or asks_all):
            typed = _prompt(field, usual, is_needed=is_needed)
            said |= {field.name: typed} if typed else {}
        elif is_needed:
            label = field.label if field.label[:2].isupper() else field.label.lower()
            raise BadRequest(
                f"{kind.label} needs its {label}.", _WAYS[field.name].format(kind=kind.kind), field.name
            )
    return said


def read_key(*, ask: bool, from_stdin: bool) -> str | None:
    """Get a backend's key from where the person wants to give it; None if it has none."""
    if ask and from_stdin:
        raise BadRequest("--key and --key-stdin don't go together.", "Give one of them.")
    if from_stdin:
        secret = sys.stdin.readline().strip()
        if not secret:
            raise BadRequest("Standard input held no key.", "Pipe the key in as one line.")
        return secret
    if ask:
        typed: str = click.prompt("Key (not shown)", hide_input=True)
        return typed.strip()
    return None


def _prompt(field: Field, usual: str, *, is_needed: bool) -> str:
    words = f"{field.label} (not shown)" if field.is_secret else field.label
    if not is_needed and not usual:
        words += ", empty for none"
    if field.hint:
        click.echo(field.hint)
    if not usual and field.placeholder and not field.is_secret:
        words += f" (such as {field.placeholder})"
    default = usual or (None if is_needed else "")
    typed: str = click.prompt(words, default=default, hide_input=field.is_secret, show_default=bool(usual))
    return typed.strip()
