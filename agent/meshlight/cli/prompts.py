"""Questions at the terminal: each answer is checked when it is given, and a wrong or empty one is told why."""

from collections.abc import Callable
from typing import Final

import click

from meshlight.domain.errors import MeshlightError

NEEDED: Final = "It can't be left out. Ctrl-C ends."


def ask_text(
    words: str,
    check: Callable[[str], str] = str,
    *,
    default: str = "",
    is_secret: bool = False,
    needed: str = NEEDED,
) -> str:
    """Ask until `check` returns an answer instead of raising MeshlightError, and return that.

    An empty answer is told `needed`, or taken if that is empty; a secret one is not shown.
    """

    def read(answer: object) -> str:
        text = str(answer).strip()
        if not text and needed:
            raise click.UsageError(needed)
        try:
            return check(text)
        except MeshlightError as error:
            raise click.UsageError(f"{error.title} {error.hint}".rstrip()) from error

    answer: str = click.prompt(
        words, default=default, show_default=bool(default), hide_input=is_secret, value_proc=read
    )
    return answer
