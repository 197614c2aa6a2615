"""Which values of the settings of this machine's own models are wrong, and why, as the end of a sentence."""

from collections.abc import Sequence

from meshlight.domain.engine_arguments import EVERY_ENGINE, check_arguments
from meshlight.domain.errors import BadRequest
from meshlight.domain.local_memory import memory_limit


def memory_fault(text: str) -> str | None:
    """Return why a text is no amount of memory, or None."""
    try:
        memory_limit(text)
    except BadRequest:
        return 'must be "auto" or a size such as "12 GB"'
    return None


def args_fault(args: Sequence[str]) -> str | None:
    """Return why no engine may be given these arguments, or None; which engine it will be is not known yet."""
    try:
        check_arguments(args, EVERY_ENGINE, "any engine")
    except BadRequest as error:
        return f"can't be used: {error.title.removeprefix('args: ')} {error.hint}".strip()
    return None
