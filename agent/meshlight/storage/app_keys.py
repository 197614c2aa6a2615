"""Further keys for single apps, each with a name, so that one can be revoked without the others.

Only hashes are stored. A key has 256 random bits, so a plain hash of it can't be guessed.
"""

import hashlib
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from meshlight.domain.access_keys import KEYS_MAX, NAME_MAX, AppKey
from meshlight.domain.errors import BadRequest, Conflict, NotFound, SecretError
from meshlight.domain.text import sanitize
from meshlight.storage.files import read_capped, write_atomic
from meshlight.storage.local_key import PREFIX

log = logging.getLogger(__name__)

_RANDOM_BYTES = 32
_ID_BYTES = 4


class _Entry(Struct, frozen=True, kw_only=True):
    id: str
    name: Annotated[str, Meta(max_length=NAME_MAX)]
    made_at: float
    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


class AppKeys:
    """The keys in one file (mode 0600). `add` and `remove` block for as long as the disk takes.

    A file that can't be read opens nothing: its keys are refused, and the log says so. It is set aside at the next
    change.
    """

    def __init__(self, path: Path, wall: Callable[[], float] = time.time) -> None:
        self._path = path
        self._wall = wall
        self._entries: dict[bytes, _Entry] = {}
        self._is_broken = False
        try:
            found = msgspec.json.decode(read_capped(path), type=tuple[_Entry, ...])
        except FileNotFoundError:
            return
        except (OSError, msgspec.MsgspecError) as error:
            log.warning("The keys of apps in %s can't be read: %s", path, type(error).__name__)
            self._is_broken = True
            return
        self._entries = {bytes.fromhex(entry.sha256): entry for entry in found}

    def matches(self, candidate: bytes) -> bool:
        """Whether this is one of the keys. Only hashes are looked up, so the time reveals nothing of the keys."""
        return bool(self._entries) and hashlib.sha256(candidate).digest() in self._entries

    def list(self) -> tuple[AppKey, ...]:
        """Return the keys, without the keys themselves, in the order in which they were made."""
        return tuple(AppKey(id=one.id, name=one.name, made_at=one.made_at) for one in self._entries.values())

    def add(self, name: str) -> tuple[AppKey, str]:
        """Make a key, and return it: this is the only time that it can be seen."""
        name = sanitize(name).strip()
        if not name:
            raise BadRequest("A key needs a name.", "Name the app that will use it.", "name")
        if any(name.casefold() == one.name.casefold() for one in self._entries.values()):
            raise Conflict(
                f"There is a key called {name!r} already.", "Choose another name, or remove that one."
            )
        if len(self._entries) >= KEYS_MAX:
            raise Conflict(f"There are {KEYS_MAX} keys already.", "Remove one first.")
        key = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
        digest = hashlib.sha256(key.encode()).digest()
        entry = _Entry(id=secrets.token_hex(_ID_BYTES), name=name, made_at=self._wall(), sha256=digest.hex())
        self._save({**self._entries, digest: entry})
        return AppKey(id=entry.id, name=name, made_at=entry.made_at), key

    def remove(self, key_id: str) -> None:
        """Revoke a key: it is refused from now on. Raises NotFound."""
        left = {digest: one for digest, one in self._entries.items() if one.id != key_id}
        if len(left) == len(self._entries):
            raise NotFound("There is no such key.", "It may have been removed already.")
        self._save(left)

    def _save(self, entries: dict[bytes, _Entry]) -> None:
        try:
            if self._is_broken:
                with suppress(FileNotFoundError):
                    self._path.replace(self._path.with_name(f"{self._path.name}.broken"))
                self._is_broken = False
            write_atomic(self._path, msgspec.json.encode(tuple(entries.values())))
        except OSError as error:
            raise SecretError(
                "refused",
                f"The keys of apps can't be written to {self._path}: {error.strerror or error}.",
                "Make its folder writable for you, or free some space.",
            ) from None
        self._entries = entries
