"""Ending with the process that started us, in whatever way that one ends."""

import os
import threading
from collections.abc import Callable, Mapping
from typing import Final

STDIN: Final = 0


def end_with_parent(
    end: Callable[[], None], environ: Mapping[str, str] = os.environ, stdin: int = STDIN
) -> None:
    """Call `end`, from a thread, when the parent that says it holds our standard input open is gone."""
    if environ.get("MESHLIGHT_PARENT") != "stdin":
        return

    def watch() -> None:
        # Not by sys.stdin: a thread that waits inside of it makes the interpreter abort at its end.
        while os.read(stdin, 4096):
            pass
        end()

    threading.Thread(target=watch, name="parent", daemon=True).start()
