"""The keys by which programs use this service: the local key, and further ones for single apps."""

from typing import Final

from msgspec import Struct

KEYS_MAX: Final = 50
"""Further keys at most."""
NAME_MAX: Final = 60
"""Characters of a key's name."""


class AppKey(Struct, frozen=True, kw_only=True):
    """A further key, without the key itself. It opens inference only."""

    id: str
    name: str
    made_at: float
    """Seconds since 1970."""


class NewAppKey(Struct, frozen=True, kw_only=True):
    """A further key that was just made: the only time that the key itself is shown."""

    id: str
    name: str
    key: str


class RevealedKey(Struct, frozen=True, kw_only=True):
    """The local key itself."""

    key: str
