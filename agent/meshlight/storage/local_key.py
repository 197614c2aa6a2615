"""The local key, with which every program of this user authenticates to the service."""

import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NoReturn, SupportsIndex

from meshlight.domain.errors import Conflict, SecretError
from meshlight.domain.private_variables import OWN_VARIABLES
from meshlight.domain.proof import prove
from meshlight.storage.files import flush_folder, read_capped, write_atomic, write_beside
from meshlight.storage.secrets.secret import HIDDEN, Secret

PREFIX = "ml-"
_RANDOM_BYTES = 32
_LENGTH_MIN, _LENGTH_MAX = 16, 512
_FILE_LIMIT = 4096


class LocalKey:
    """A 256-bit key, created at the first start and readable for this user alone; printed as `***`."""

    def __init__(
        self, value: str, *, file: Path | None = None, notices: tuple[str, ...] = (), fixed_by: str = ""
    ) -> None:
        self._secret = Secret(value)
        self.fixed_by = fixed_by
        """The variable that gave the key, which can't be replaced here then; empty for a key of our own."""
        self.file = file
        """The path of the key; None if the environment gave the key itself."""
        self.notices = notices
        """Warnings for the user, such as a key file that others could read."""

    @classmethod
    def open(cls, path: Path, environ: Mapping[str, str] = OWN_VARIABLES) -> "LocalKey":
        """Return the key of `MESHLIGHT_KEY`, of the file `MESHLIGHT_KEY_FILE` names, or of `path`.

        A missing file at `path` is created; two processes that do so at the same time get the same key. Raises
        SecretError for an invalid key, and for a file that can't be read, created or made private.
        """
        if given := environ.get("MESHLIGHT_KEY", "").strip():
            return cls(_validated(given, "MESHLIGHT_KEY"), fixed_by="MESHLIGHT_KEY")
        if named := environ.get("MESHLIGHT_KEY_FILE", "").strip():
            return cls._read(Path(named).expanduser().absolute(), ours=False)
        try:
            return cls._read(path, ours=True)
        except FileNotFoundError:
            make_key(path)
        try:
            return cls._read(path, ours=True)
        except FileNotFoundError:
            raise SecretError(
                "missing", f"The key file {path} was removed as it was made.", "Start Meshlight again."
            ) from None

    @classmethod
    def _read(cls, path: Path, *, ours: bool) -> "LocalKey":
        """Read a key file. `ours`: raises FileNotFoundError where it is missing, and makes it private."""
        notices: tuple[str, ...] = ()
        try:
            notices = _make_private(path, ours=ours)
            value = read_capped(path, _FILE_LIMIT).decode("ascii").strip()
        except FileNotFoundError:
            if ours:
                raise
            raise SecretError(
                "missing", f"There is no key file {path}.", "Make it, or unset MESHLIGHT_KEY_FILE."
            ) from None
        except UnicodeDecodeError:
            value = ""
        except OSError as error:
            raise SecretError(
                "refused",
                f"The key file {path} can't be used: {error.strerror or error}.",
                "Make it readable for you alone (chmod 600).",
            ) from None
        fixed_by = "" if ours else "MESHLIGHT_KEY_FILE"
        return cls(_validated(value, str(path)), file=path, notices=notices, fixed_by=fixed_by)

    def reveal(self) -> str:
        """Return the key itself; for `meshlight key`, `meshlight env` and the clipboard."""
        return self._secret.reveal()

    def matches(self, candidate: bytes | str) -> bool:
        """Whether this is the key; takes the same time however much of it is right."""
        if len(candidate) > _LENGTH_MAX:
            return False
        data = candidate.encode(errors="surrogatepass") if isinstance(candidate, str) else candidate
        return self._secret.equals(data)

    def replace(self) -> None:
        """Make a new key and write it to its file; the old one stops working at once.

        Raises Conflict for a key that was given from outside, SecretError if the file can't be written.
        """
        if why := self.fixed_by:
            raise Conflict(
                f"The local key comes from {why}, so it is changed there.", "Change it, and restart."
            )
        if self.file is None:
            raise TypeError("A key of our own has a file.")
        value = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        try:
            write_atomic(self.file, f"{value}\n".encode())
        except OSError as error:
            raise SecretError(
                "refused",
                f"The key file {self.file} can't be written: {error.strerror or error}.",
                "Make its folder writable for you, or free some space.",
            ) from None
        self._secret = Secret(value)

    def prove(self, instance: str, challenge: str) -> str:
        """Return the answer to a client's challenge, for this instance of the service."""
        return prove(self._secret.reveal(), challenge, instance)

    def __repr__(self) -> str:
        return HIDDEN

    def __str__(self) -> str:
        return HIDDEN

    def __reduce_ex__(self, _protocol: SupportsIndex) -> NoReturn:
        raise TypeError("The local key can't be pickled.")


def make_key(path: Path, link: Callable[[Path, Path], None] = Path.hardlink_to) -> None:
    """Create the key file in one step, unless another process was faster: a link never replaces a file."""
    key = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    try:
        temporary = write_beside(path, f"{key}\n".encode(), 0o600)
        try:
            link(path, temporary)
        except FileExistsError:
            pass
        except OSError:
            # A file system without links (exFAT): there, of two first starts at the same instant, the last one wins.
            if not path.exists():
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        flush_folder(path.parent)
    except OSError as error:
        raise SecretError(
            "refused",
            f"The key file {path} can't be made: {error.strerror or error}.",
            "Make its folder writable for you, set MESHLIGHT_HOME to another one, or set MESHLIGHT_KEY.",
        ) from None


def _make_private(path: Path, *, ours: bool) -> tuple[str, ...]:
    """Make our key file private and return the warnings; raises OSError, or SecretError for another user's file."""
    found = path.stat()
    if os.name == "nt":
        return ()  # the user's profile folder is private there, and modes say nothing
    mode = stat.S_IMODE(found.st_mode)
    if ours and found.st_uid not in {os.geteuid(), 0}:
        raise SecretError(
            "refused",
            f"The key file {path} belongs to another user (uid {found.st_uid}).",
            "Remove it, and a new key is created at the next start.",
        )
    if not mode & 0o077:
        return ()
    if not ours:
        return (f"Other users can read the key file {path} (mode {mode:04o}).",)
    path.chmod(0o600)
    was = f"Other users could read the key file {path} (mode {mode:04o}); it is private again."
    return (f"{was} If you share this computer, remove the file: a new key is created at the next start.",)


def _validated(value: str, origin: str) -> str:
    if not (
        _LENGTH_MIN <= len(value) <= _LENGTH_MAX
        and value.isascii()
        and value.isprintable()
        and " " not in value
    ):
        raise SecretError(
            "refused",
            f"{origin} contains no usable key: it needs {_LENGTH_MIN} to {_LENGTH_MAX} letters, digits or signs.",
            "Remove it, and a key is created at the next start.",
        )
    return value
