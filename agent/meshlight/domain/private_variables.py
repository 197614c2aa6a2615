"""Environment variables with secrets: kept in this process, and not inherited by the programs that it starts.

Otherwise a web view, a browser and the programs that they start would have the keys in their environment, where crash
reports and debugging tools find them.
"""

import os
from collections import ChainMap
from collections.abc import MutableMapping

KEY = "MESHLIGHT_KEY"
_PREFIX = "MESHLIGHT_SECRET_"

_removed: dict[str, str] = {}
OWN_VARIABLES: ChainMap[str, str] = ChainMap(os.environ, _removed)
"""The variables that this process was started with, including those removed from its environment."""


def is_private(name: str) -> bool:
    """Whether a variable contains a secret of Meshlight's."""
    return name == KEY or name.startswith(_PREFIX)


def remove_private(environ: MutableMapping[str, str] = os.environ) -> None:
    """Remove the secrets from the environment; `OWN_VARIABLES` still has them."""
    for name in [name for name in environ if is_private(name)]:
        _removed[name] = environ.pop(name)


def store_key(key: str) -> None:
    """Store a local key that did not come from the environment."""
    _removed[KEY] = key
