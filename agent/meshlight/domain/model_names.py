"""Model names with and without Ollama's tag: `NAME` and `NAME:latest` are the same model, in every protocol."""

LATEST = ":latest"


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
