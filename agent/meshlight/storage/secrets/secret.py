"""A secret that does not give itself away."""

from typing import NoReturn, SupportsIndex

HIDDEN = "***"


class Secret:
    """A secret text: shown, formatted, logged or encoded it is `***`; only `reveal` gives it.

    It can't be pickled or copied by pickling. With msgspec, `enc_hook=str` writes the stars.
    """

    __slots__ = ("_bytes",)

    def __init__(self, value: str) -> None:
        self._bytes = bytearray(value.encode())

    def reveal(self) -> str:
        """Return the secret itself; for the one place that sends it."""
        return self._bytes.decode()

    def copy(self) -> "Secret":
        """Return another object with the same secret, which `wipe` on this one does not touch."""
        return Secret(self.reveal())

    def wipe(self) -> None:
        """Overwrite the secret in memory; what `reveal` has given out before is beyond reach."""
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
