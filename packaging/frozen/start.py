"""What the frozen program runs first."""

import os
import sys

from meshlight.cli.entry import main
from meshlight.desktop.system.process import restore_loader_variables

SCHEME = "meshlight:"


def arguments(words: list[str], *, is_app: bool) -> list[str]:
    """Return the arguments of the command line; an app that was clicked on has none, one for a link has the link."""
    if is_app and not words:
        return ["desktop"]
    if is_app and words[0].startswith(SCHEME):
        return ["link", "--start", "--", words[0]]
    return words


if __name__ == "__main__":
    restore_loader_variables()
    # A terminal gives TERM; Finder and the Dock don't.
    main(arguments(sys.argv[1:], is_app=sys.platform == "darwin" and "TERM" not in os.environ))
