"""Paths of inference as clients write them: with a slash too many, or without `/v1`, as llama-server takes them.

A spelling is replaced by the path that it stands for before anything looks at it: so it passes no guard that the path
itself would not, and nothing behind the guard knows of spellings.
"""

import re
from typing import Any
from urllib.parse import unquote

from meshlight.domain.operations import OLLAMA_OPERATIONS, OPERATIONS

_PATHS = frozenset(
    (
        *(f"/v1/{operation}" for operation in OPERATIONS),
        *(f"/{operation}" for operation in OLLAMA_OPERATIONS),
        *("/v1/models", "/v1beta/models", "/api/tags", "/api/ps", "/api/version", "/api/show"),
    )
)
_SHORT = {f"/{operation}": f"/v1/{operation}" for operation in OPERATIONS} | {
    "/models": "/v1/models",
    "/reranking": "/v1/rerank",
    "/v1/reranking": "/v1/rerank",
}
_WITH_MODEL = ("/v1/models/", "/v1beta/models/")
_SLASHES = re.compile("/{2,}")


def respell(scope: Any) -> None:
    """Give a request the path that its own stands for; any other path stays as it is."""
    path: str = scope["path"]
    if path not in _PATHS and (found := meant(scope["raw_path"].decode("latin-1"))) is not None:
        scope["path"], scope["raw_path"] = found, found.encode("latin-1")
        if "%" in found:
            scope["path"] = unquote(found)


def meant(path: str) -> str | None:
    """Return the path that another spelling stands for; None where it is none."""
    if "//" not in path and not path.endswith("/") and path not in _SHORT:
        return None
    plain = _SLASHES.sub("/", path).rstrip("/")
    plain = _SHORT.get(plain, plain)
    if plain in _PATHS:
        return plain
    # A model's id may hold slashes of its own, so that only those before it are looked at.
    front = "/" + path.lstrip("/")
    return front if path.startswith("//") and front.startswith(_WITH_MODEL) else None
