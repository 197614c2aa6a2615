"""Secrets in a plain file, for machines without a keyring, and only when the user requests it explicitly."""

import os
import stat
from pathlib import Path

import msgspec

from meshlight.domain.errors import SecretError
from meshlight.storage.files import read_capped, write_atomic


class PlainSecrets:
    """A JSON file (mode 0600) with the interface of a keyring; as safe as the user's account and its backups."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def get_password(self, service: str, username: str) -> str | None:  # noqa: ARG002 - a keyring's signature
        """Return the secret, or None."""
        return self._read().get(username)

    def set_password(self, service: str, username: str, password: str) -> None:  # noqa: ARG002 - a keyring's signature
        """Store the secret."""
        self._write(self._read() | {username: password})

    def delete_password(self, service: str, username: str) -> None:  # noqa: ARG002 - a keyring's signature
        """Delete the secret."""
        self._write({name: secret for name, secret in self._read().items() if name != username})

    def _read(self) -> dict[str, str]:
        try:
            if os.name != "nt" and stat.S_IMODE(self._path.stat().st_mode) & 0o077:
                self._path.chmod(0o600)
            return msgspec.json.decode(read_capped(self._path), type=dict[str, str])
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise SecretError(
                "refused",
                f"The secrets file {self._path} can't be read: {error.strerror or error}.",
                "Make it readable for you alone (chmod 600)",
            ) from None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise SecretError(
                "refused",
                f"The secrets file {self._path} is damaged.",
                "Remove it and give the secrets again",
            ) from None

    def _write(self, secrets: dict[str, str]) -> None:
        try:
            write_atomic(self._path, msgspec.json.format(msgspec.json.encode(secrets)))
        except OSError as error:
            raise SecretError(
                "refused",
                f"The secrets file {self._path} can't be written: {error.strerror or error}.",
                "Make its folder writable for you, or free some space",
            ) from None
