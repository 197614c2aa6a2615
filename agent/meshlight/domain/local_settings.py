"""Which values of the settings of this machine's own models are wrong, and why, as the end of a sentence."""

import re
from collections.abc import Sequence

_SIZE = re.compile(r"\s*(\d{1,9}(?:\.\d{1,6})?)\s*(?:[KMGT]i?B?|B)\s*", re.IGNORECASE)
ARGS_MAX = 100
ARG_MAX = 1_000
"""Characters of one argument."""


def memory_fault(text: str) -> str | None:
    """Return why a text is no amount of memory, or None."""
    if text == "auto" or _SIZE.fullmatch(text):
        return None
    return 'must be "auto" or a size such as "12 GB"'


def args_fault(args: Sequence[str]) -> str | None:
    """Return why the arguments for an engine are not allowed, or None."""
    if len(args) > ARGS_MAX or any(len(arg) > ARG_MAX or "\0" in arg for arg in args):
        return f"may have {ARGS_MAX} arguments of {ARG_MAX} characters at most, without NUL"
    return None
