"""Variables that hold secrets: this process keeps them, and no program that it starts inherits them.

A web view, a browser and what they start in turn would otherwise carry the keys in their own environment, where
crash reports and debugging tools find them.
"""

import os
from collections import ChainMap
from collections.abc import MutableMapping

KEY = "MESHLIGHT_KEY"
_PREFIX = "MESHLIGHT_SECRET_"

_taken: dict[str, str] = {}
OWN_VARIABLES: ChainMap[str, str] = ChainMap(os.environ, _taken)
"""The variables that this process was given: those of its environment, and those that were taken out of it."""


def is_private(name: str) -> bool:
    """Whether a variable holds a secret of ours."""
    return name == KEY or name.startswith(_PREFIX)


def take_private(environ: MutableMapping[str, str] = os.environ) -> None:
    """Take what is secret out of the environment; `OWN_VARIABLES` still has it."""
    for name in [name for name in environ if is_private(name)]:
        _taken[name] = environ.pop(name)


def keep_key(key: str) -> None:
    """Keep a local key that came by another way than the environment."""
    _taken[KEY] = key
