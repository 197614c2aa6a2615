"""A secret that is never shown by accident."""

import hmac
from typing import NoReturn, SupportsIndex

HIDDEN = "***"


class Secret:
    """A secret text. Printed, formatted, logged or encoded it is `***`; only `reveal` returns it.

    It can't be pickled. With msgspec, `enc_hook=str` writes the stars.
    """

    __slots__ = ("_bytes",)

    def __init__(self, value: str) -> None:
        self._bytes = bytearray(value.encode())

    def reveal(self) -> str:
        """Return the secret itself, where it is sent."""
        return self._bytes.decode()

    def equals(self, candidate: bytes) -> bool:
        """Whether a text is the secret; takes the same time however much of it is right (its length may show)."""
        return hmac.compare_digest(candidate, self._bytes)

    def copy(self) -> "Secret":
        """Return another object with the same secret, which stays when this one is wiped."""
        return Secret(self.reveal())

    def wipe(self) -> None:
        """Overwrite the secret in memory; copies that `reveal` returned earlier stay."""
        self._bytes[:] = bytes(len(self._bytes))
        self._bytes.clear()

    def __repr__(self) -> str:
        return HIDDEN

    def __str__(self) -> str:
        return HIDDEN

    def __format__(self, _spec: str) -> str:
        return HIDDEN

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise TypeError("A secret can't be pickled.")
