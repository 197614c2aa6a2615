"""Whether this session has a screen."""

import os
import sys


def has_screen() -> bool:
    """Whether a window can be shown: without a display, the browser could be one that runs in the terminal."""
    if sys.platform in {"win32", "darwin"}:
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
