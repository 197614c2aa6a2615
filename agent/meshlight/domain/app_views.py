"""What `/mesh/apps` answers."""

from msgspec import Struct, field


class AppView(Struct, frozen=True, kw_only=True):
    """One app of `/mesh/apps`."""

    id: str
    name: str
    model: str
    """The model in the text; empty while the mesh has none for chat."""
    context: int | None
    """Tokens of its context, where known."""
    place: str
    """Where the text goes, for people."""
    text: str
    """Ready to be pasted, with base URL and key."""
    docs: str
    note: str
    fits: str
    unconfirmed: str
    launch: str
    """The command that starts the app with these settings; empty where there is none."""
    is_recognised: bool
    """Whether its requests can be recognised."""
    shared_client: str
    """Whose client it uses, where only that can be seen of its requests."""
    called_s: float | None
    """Seconds since its last request that was noticed: only while somebody waits for one. None for none."""


class AppList(Struct, frozen=True, kw_only=True):
    """`GET /mesh/apps`: how each client app uses Meshlight. Holds the local key: never store it."""

    url: str
    """The base URL of OpenAI's clients."""
    key: str
    """The local key, as it is in the texts."""
    model: str
    """The model that was asked for, or the one chosen; empty while the mesh has none for chat."""
    why: str
    """Why this model, for people."""
    models: tuple[str, ...] = ()
    """All models for chat."""
    apps: tuple[AppView, ...] = field(default_factory=tuple)
