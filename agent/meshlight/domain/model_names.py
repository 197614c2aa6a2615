"""What names of models say.

With and without Ollama's tag, `NAME` and `NAME:latest` are the same model, in every protocol.
"""

import re
from collections.abc import Iterable

LATEST = ":latest"
_NO_CHAT = re.compile(
    r"embed|rerank|bge-|whisper|tts|dall-e|diffusion|moderation|transcri|speech|image|davinci|babbage|realtime|\bsora|\bclip",
    re.IGNORECASE,
)
"""In the names of models that can't chat; `try/choices.js` has the same."""
_OTHER_USES = frozenset({"embeddings", "rerank", "image", "speech", "transcription"})
"""The capabilities of models that can't chat."""


def other_tag(name: str) -> str:
    """Return the other spelling of a name: without `:latest`, or with it where it has no tag.

    A name with another tag has one spelling only, and is returned unchanged.
    """
    if name.endswith(LATEST):
        return name.removesuffix(LATEST)
    return name if ":" in name.rpartition("/")[2] else name + LATEST


def is_same(name: str, other: str) -> bool:
    """Whether two names mean the same model."""
    return name == other or other_tag(name) == other


def can_chat(name: str, told: Iterable[Iterable[str]]) -> bool:
    """Whether a model can chat, by the capabilities that its backends tell of it (`told`), else by its name."""
    known = [frozenset(capabilities) for capabilities in told if capabilities]
    if known:
        return any(not capabilities <= _OTHER_USES for capabilities in known)
    return not _NO_CHAT.search(name)
