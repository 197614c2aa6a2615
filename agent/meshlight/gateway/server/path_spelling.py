"""Other spellings of inference paths that clients use: with a slash too many, or without `/v1` as for llama-server.

A spelling is replaced by the path that it stands for before anything else reads it: so it passes no guard that the
path itself would not pass, and nothing behind the guard has to know spellings.
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


def normalize_path(scope: Any) -> None:
    """Replace the path of a request by the one that it stands for; any other path stays as it is."""
    path: str = scope["path"]
    if path not in _PATHS and (found := canonical_path(scope["raw_path"].decode("latin-1"))) is not None:
        scope["path"], scope["raw_path"] = found, found.encode("latin-1")
        if "%" in found:
            scope["path"] = unquote(found)


def canonical_path(path: str) -> str | None:
    """Return the path that another spelling stands for; None if it is none."""
    if "//" not in path and not path.endswith("/") and path not in _SHORT:
        return None
    plain = _SLASHES.sub("/", path).rstrip("/")
    plain = _SHORT.get(plain, plain)
    if plain in _PATHS:
        return plain
    # A model's id may contain slashes of its own, so only those before it are removed.
    stripped = "/" + path.lstrip("/")
    return stripped if path.startswith("//") and stripped.startswith(_WITH_MODEL) else None
