"""The version page that vLLM (`/version`) and Ollama (`/api/version`) share: `{"version": "0.12.6"}`."""

import msgspec
from msgspec import Struct

from meshlight.backends.quote import clean
from meshlight.backends.response import Reply


class _Version(Struct):
    version: str


def version_of(reply: Reply) -> str | None:
    """Return the version that a version page tells; None when the answer is no such page."""
    if reply.status != 200:
        return None
    try:
        return clean(msgspec.json.decode(reply.body, type=_Version).version) or None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
