"""The system's keyring: which one is used, which are refused, and what its failures mean."""

from contextlib import closing
from typing import Literal, Protocol

from msgspec import Struct

from meshlight.domain.errors import SecretError, SecretState

SERVICE = "meshlight"
"""Under this name the keyring lists our secrets; the user name is `<backend id>/<field>`."""


class KeyringBackend(Protocol):
    """What is used of a `keyring` backend."""

    def get_password(self, service: str, username: str) -> str | None:
        """Return the secret, or None."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Keep the secret."""

    def delete_password(self, service: str, username: str) -> None:
        """Forget the secret."""


class SecretFact(Struct, frozen=True):
    """How it stands with a secret, in words for people; the secret is not in it."""

    state: Literal["present"] | SecretState
    text: str
    fix: str = ""


def system_keyring() -> KeyringBackend:
    """Return the keyring of this system and user, or raise SecretError; slow at first, and may wait for D-Bus."""
    # Imported by the worker thread at the first use: it takes 0.1 s, and most requests need no secret.
    import keyring  # noqa: PLC0415
    import keyring.core  # noqa: PLC0415

    found = keyring.get_keyring()
    if _home(found) == "keyring.backends.fail":
        keyring.core.init_backend()  # one may have come up since
        found = keyring.get_keyring()
    return usable(found)


def usable(backend: KeyringBackend) -> KeyringBackend:
    """Return the backend if it keeps secrets, and keeps them secret; raises SecretError."""
    home = _home(backend)
    if home == "keyring.backends.chainer":
        for link in getattr(backend, "backends", ()):
            if _home(link) not in _REFUSED and not _home(link).startswith(_PLAIN):
                return usable(link)
        raise SecretError("no-keyring", "This system has no keyring that can be used.", _INSTALL)
    if home.startswith(_PLAIN):
        raise SecretError(
            "refused",
            f"The keyring in use, {home}, keeps secrets in plain files or asks on a terminal.",
            _INSTALL,
        )
    if home in _REFUSED:
        raise SecretError(*_REFUSED[home], _INSTALL)
    return backend


def is_locked(backend: KeyringBackend) -> bool | None:
    """Whether the keyring is locked, asked without putting up a dialog; None where that can't be asked.

    Cheap (two milliseconds), but it goes over D-Bus: for the worker thread. Raises what D-Bus raises.
    """
    if _home(backend) != "keyring.backends.SecretService":
        return None
    import secretstorage  # noqa: PLC0415 - it came with the keyring that is in use

    path = getattr(backend, "preferred_collection", secretstorage.collection.DEFAULT_COLLECTION)
    with closing(secretstorage.dbus_init()) as bus:
        return bool(secretstorage.Collection(bus, path).is_locked())


def explained(error: Exception) -> SecretError:
    """Turn what a keyring raised into words. Its own text is left out: nobody knows what is in it."""
    if isinstance(error, SecretError):
        return error
    names = {kind.__name__ for kind in type(error).__mro__}
    if isinstance(error, TimeoutError):
        return SecretError("locked", "The keyring does not answer; it may be waiting at a dialog.", _UNLOCK)
    if names & {"KeyringLocked", "InitError"}:
        return SecretError("locked", "The keyring is locked.", _UNLOCK)
    if "NoKeyringError" in names:
        return SecretError("no-keyring", "This system has no keyring that can be used.", _INSTALL)
    if names & {"PasswordSetError", "PasswordDeleteError"}:
        return SecretError("refused", "The keyring refuses to change the secret.", _UNLOCK)
    return SecretError("no-keyring", f"The keyring can't be used ({type(error).__name__}).", _INSTALL)


_PLAIN = "keyrings.alt"
_REFUSED: dict[str, tuple[SecretState, str]] = {
    "keyring.backends.fail": ("no-keyring", "This system has no keyring that can be used."),
    "keyring.backends.null": ("refused", "The keyring in use, keyring.backends.null, keeps nothing."),
}
_INSTALL = "Install and unlock a keyring (GNOME Keyring, KWallet, KeePassXC)"
_UNLOCK = "Unlock the keyring (answer its dialog, or log in to the desktop) and try again"


def _home(backend: object) -> str:
    return type(backend).__module__
