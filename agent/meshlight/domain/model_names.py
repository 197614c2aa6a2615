"""Names of models with and without Ollama's tag: `NAME` and `NAME:latest` are the same model, whoever asks."""

LATEST = ":latest"


def other_tag(name: str) -> str:
    """Return the other way in which a name may be written: without `:latest`, or with it where it bears no tag.

    A name with another tag has only one: it comes back as it is.
    """
    if name.endswith(LATEST):
        return name.removesuffix(LATEST)
    return name if ":" in name.rpartition("/")[2] else name + LATEST


def is_same(name: str, other: str) -> bool:
    """Whether two names mean the same model."""
    return name == other or other_tag(name) == other
