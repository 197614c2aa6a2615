"""The secrets of backends: found in the environment, in memory or in the keyring, never with a long wait."""

import hashlib
import sys
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from meshlight.domain.config import KeyStorage
from meshlight.domain.errors import SecretError
from meshlight.domain.private_variables import OWN_VARIABLES
from meshlight.storage.secrets.environment import PREFIX, checked, secret_of_environment, variable
from meshlight.storage.secrets.keyring import (
    LOCK_POLL_S,
    SERVICE,
    KeyringBackend,
    LockWatch,
    SecretStatus,
    Worker,
    is_locked,
    system_keyring,
    to_secret_error,
    usable,
)
from meshlight.storage.secrets.plain_file import PlainSecrets
from meshlight.storage.secrets.secret import Secret

T = TypeVar("T")
FIELDS = ("api_key",)
"""The secret fields of a backend. A new one is added here, so that `remove_all` removes it too."""
LONGEST = 1280 if sys.platform == "win32" else 1 << 16
"""Characters of a stored secret: the credential store of Windows takes no more than 1280."""
_SEPARATOR = "\n"
"""Between a secret and the origin that it is for. No secret contains a line break."""
_MISSING_FOR_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 60.0, 3600.0


class Secrets:
    """Secrets by backend id and field.

    Order: the environment (`MESHLIGHT_SECRET_<ID>`, `…_FILE`), memory, the system's keyring. With `insecure`
    (for this start) or `chosen_file` (by the configuration), the plain `file` replaces the keyring; it is never a
    fallback. `on_no_keyring` is called each time that there is none. The keyring is used in a thread of its own, for
    at most `limit_s` seconds per call. After a failure it is not used for a minute, and for longer after each
    further failure, so that a dialog that the user has closed does not come back with each probe; `set`, `remove`
    and `retry` use it at once. While it is locked, its lock is polled every two seconds, which opens no dialog, and
    `on_unlocked` is called when it is open again. All methods are for the event loop's thread.

    A secret is given for one origin (scheme, host and port of its backend) and stored with it, on a second line.
    When only the address is changed, for example in the file, reading the secret raises SecretError
    (other-address). A secret stored without an origin is bound to the first origin that it is requested for; one
    from the environment likewise, until the service ends.
    """

    def __init__(  # noqa: PLR0913 - tests name the few that they need
        self,
        *,
        file: Path,
        insecure: bool = False,
        chosen_file: bool = False,
        environ: Mapping[str, str] = OWN_VARIABLES,
        keyring: KeyringBackend | None = None,
        limit_s: float = 5.0,
        longest: int = LONGEST,
        clock: Callable[[], float] = time.monotonic,
        is_locked: Callable[[KeyringBackend], bool | None] = is_locked,
        lock_poll_s: float = LOCK_POLL_S,
        on_unlocked: Callable[[], None] = lambda: None,
        on_no_keyring: Callable[[], None] = lambda: None,
    ) -> None:
        self._environ = environ
        self._has_variables = any(name.startswith(PREFIX) for name in environ)
        self.path = file
        """The plain file."""
        self._file = PlainSecrets(file)
        self._keyring = keyring
        """A test's, instead of the system's."""
        self.is_forced = insecure
        """Whether the file was chosen for this start, so that the configuration does not decide."""
        self.is_file = insecure or chosen_file
        """Whether secrets are kept in the plain file."""
        self._on_no_keyring = on_no_keyring
        self._worker = Worker("meshlight-keyring", limit_s)
        self._longest = longest
        self._clock = clock
        self._cache: dict[str, Secret] = {}
        self._missing_until: dict[str, float] = {}
        self._failure: SecretError | None = None
        self._paused_until = 0.0
        self._pause_s = _FIRST_PAUSE_S
        self._failures = 0
        self._origins: dict[str, tuple[bytes, str]] = {}
        """By user name: the digest of a secret stored without an origin, and the first origin it was used for."""
        self._failed: Exception | None = None
        """How the last read failed; it and the number of failures are written by the keyring's thread."""
        self._on_unlocked = on_unlocked
        self._is_locked = is_locked
        self._watch = LockWatch(self._worker, lambda: is_locked(self._open()), self._unlocked, lock_poll_s)

    @classmethod
    def without_service(cls, file: Path, key_storage: KeyStorage) -> "Secrets":
        """Return the secrets as a command uses them that runs without the service.

        Where the user has not chosen, a file that is there was made by a service with `--insecure-storage`.
        """
        return cls(file=file, chosen_file=key_storage == "file" or (key_storage == "ask" and file.exists()))

    async def get(self, backend_id: str, field: str = "api_key", *, origin: str = "") -> Secret | None:
        """Return the secret, or None if there is none; with an `origin`, only if it was given for that.

        Raises SecretError (locked, no-keyring, refused, other-address).
        """
        if found := secret_of_environment(self._environ, backend_id, field):
            self._check_origin(backend_id, variable(backend_id, field), found.reveal(), origin)
            return found
        stored = await self._read(backend_id, field)
        if stored is None:
            return None
        text, _, given_for = stored.partition(_SEPARATOR)
        if not given_for and origin:
            user = _user(backend_id, field)
            is_first = user not in self._origins
            self._check_origin(backend_id, user, text, origin)
            if is_first:
                with suppress(SecretError):  # tried again at the next start; until then `_origins` has it
                    await self.set(backend_id, text, field, origin=origin)
        elif origin and given_for != origin:
            raise _wrong_origin(backend_id, given_for, origin)
        return Secret(text)

    async def _read(self, backend_id: str, field: str) -> str | None:
        """Return the stored text: the secret, perhaps followed by its origin."""
        user = _user(backend_id, field)
        if user in self._cache:
            return self._cache[user].reveal()
        if self._clock() < self._missing_until.get(user, 0.0):
            return None
        if self._failure is not None and self._clock() < self._paused_until:
            raise _error_for(self._failure, backend_id, field)

        failures = self._failures

        def read(keyring: KeyringBackend) -> str | None:
            if self._failed is not None and self._failures != failures:
                raise to_secret_error(self._failed)  # of several calls at once, only the first opens a dialog
            try:
                return keyring.get_password(SERVICE, user)
            except Exception as error:
                self._failures, self._failed = self._failures + 1, error
                raise

        try:
            value = await self._call(read, lambda value: self._remember(user, value))
        except SecretError as error:
            self._pause(error)
            raise _error_for(error, backend_id, field) from None
        return value or None

    def _check_origin(self, backend_id: str, whose: str, text: str, origin: str) -> None:
        """Raise SecretError if this same secret was requested for another origin before."""
        if not origin:
            return
        digest = hashlib.sha256(text.encode()).digest()
        known_digest, given_for = self._origins.get(whose, (digest, origin))
        if known_digest == digest and given_for != origin:
            raise _wrong_origin(backend_id, given_for, origin)
        self._origins[whose] = (digest, origin)

    async def require(self, backend_id: str, field: str = "api_key") -> Secret:
        """Return the secret; raises SecretError as `get` does, and (missing) where there is none."""
        if secret := await self.get(backend_id, field):
            return secret
        raise SecretError(
            "missing",
            f"No secret is stored for backend {backend_id!r}.",
            _fixes("Give it again with `meshlight backends add`", backend_id, field),
        )

    async def check(self, backend_id: str, field: str = "api_key") -> SecretStatus:
        """Return whether the secret can be read, with the reason and the fix for people; never raises."""
        try:
            await self.require(backend_id, field)
        except SecretError as error:
            return SecretStatus(error.state, error.title, error.hint)
        return SecretStatus("present", f"The secret of backend {backend_id!r} is stored.")

    async def set(
        self, backend_id: str, value: str | Secret, field: str = "api_key", *, origin: str = ""
    ) -> None:
        """Store the secret, for this `origin` only; raises SecretError, and then the old one may still be stored.

        A call that took too long still takes effect when the user answers the dialog.
        """
        user = _user(backend_id, field)
        text = checked((value.reveal() if isinstance(value, Secret) else value).strip(), "this request")
        stored = f"{text}{_SEPARATOR}{origin}" if origin else text
        if not text or len(stored) > self._longest:
            raise SecretError(
                "refused",
                f"A secret of {len(text)} characters can't be stored here.",
                f"It must have 1 to {self._longest}; or set {variable(backend_id, field)}_FILE to a file with it.",
            )

        def write(keyring: KeyringBackend) -> None:
            keyring.set_password(SERVICE, user, stored)
            if keyring.get_password(SERVICE, user) != stored:
                raise SecretError("refused", "The keyring has not stored the secret.", "Use another keyring")

        self._forget(user)
        try:
            await self._call(write, lambda _: self._remember(user, stored))
        except SecretError as error:
            raise _error_for(error, backend_id, field) from None

    async def remove(self, backend_id: str, field: str = "api_key") -> bool:
        """Delete the secret and return whether there was one; raises SecretError if it can't be deleted."""
        user = _user(backend_id, field)

        def delete(keyring: KeyringBackend) -> bool:
            if keyring.get_password(SERVICE, user) is None:
                return False
            keyring.delete_password(SERVICE, user)
            return True

        self._forget(user)
        try:
            return await self._call(delete, lambda _: self._forget(user))
        except SecretError as error:
            raise _error_for(error, backend_id, field) from None

    async def remove_all(self, backend_id: str) -> None:
        """Delete all secrets of a backend that is removed."""
        for field in FIELDS:
            await self.remove(backend_id, field)

    def in_environment(self, backend_id: str, field: str = "api_key") -> bool:
        """Whether the environment gives this secret; it has precedence over a stored one."""
        if not self._has_variables:  # each probe asks
            return False
        name = variable(backend_id, field)
        return any(self._environ.get(key, "").strip() for key in (name, f"{name}_FILE"))

    async def use_file(self, *, on: bool, backend_ids: Collection[str] = ()) -> None:
        """Keep secrets in the plain file from now on, or in the keyring, and move the stored ones of these ids there.

        Raises SecretError when they can't be moved, and then everything stays as it is. Where there is no keyring,
        nothing can be in it.
        """
        if self.is_forced or on == self.is_file:
            return
        users = [_user(backend_id, field) for backend_id in backend_ids for field in FIELDS]
        try:
            await self._worker.run(
                lambda: _move(users, self._open, (lambda: self._file) if on else self._system, is_to_file=on)
            )
        except Exception as error:  # noqa: BLE001 - keyrings raise whatever their system does
            found = to_secret_error(error)
            raise SecretError(
                found.state, found.title, f"{found.hint}. Until then, keys stay where they are."
            ) from None
        self.switch(to_file=on)

    def switch(self, *, to_file: bool) -> None:
        """Use the file from now on, or the keyring, without moving what is stored."""
        if self.is_forced or to_file == self.is_file:
            return
        self.is_file = to_file
        for user in list(self._cache):
            self._forget(user)
        self._watch.stop()
        self.retry()

    async def storage(self) -> SecretStatus:
        """Return whether secrets can be stored now; opens no dialog, and never raises."""
        if self.is_file:
            return SecretStatus("present", "Keys are kept in a file that only you can read.")
        try:
            locked = await self._worker.run(lambda: self._is_locked(self._open()))
        except Exception as error:  # noqa: BLE001 - keyrings raise whatever their system does
            found = to_secret_error(error)
            return SecretStatus(found.state, found.title, f"{found.hint}.")
        if locked:
            return SecretStatus(
                "locked", "The keyring is locked.", "Answer its dialog, or log in to the desktop."
            )
        return SecretStatus("present", "Keys are kept in the keyring of this system.")

    def retry(self) -> None:
        """Use the keyring again at the next request, without waiting for the pause after a failure."""
        self._reset_pause()
        self._missing_until.clear()

    def close(self) -> None:
        """Overwrite the secrets in memory, and end the thread."""
        for user in list(self._cache):
            self._forget(user)
        self._watch.stop()
        self._worker.close()

    async def _call(self, call: Callable[[KeyringBackend], T], then: Callable[[T], None]) -> T:
        """Call the keyring in its thread; `then` gets the result even when it comes too late for the caller."""

        def done(result: T) -> None:
            self._reset_pause()
            then(result)

        try:
            return await self._worker.run(lambda: call(self._open()), done)
        except Exception as error:  # noqa: BLE001 - keyrings raise whatever their system does
            found = to_secret_error(error)
            if found.state == "no-keyring" and not self.is_file:
                self._on_no_keyring()
            raise found from None

    def _reset_pause(self) -> None:
        self._failure, self._paused_until, self._pause_s = None, 0.0, _FIRST_PAUSE_S

    def _pause(self, error: SecretError) -> None:
        """Do not use the keyring for a while; several failures at once count as one."""
        self._failure = error
        if self._clock() >= self._paused_until:
            self._paused_until = self._clock() + self._pause_s
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        if error.state == "locked":
            self._watch.start()

    def _unlocked(self) -> None:
        self.retry()
        self._on_unlocked()

    def _open(self) -> KeyringBackend:
        """Return the keyring; called in its thread, because finding one may take long."""
        return self._file if self.is_file else self._system()

    def _system(self) -> KeyringBackend:
        return system_keyring() if self._keyring is None else usable(self._keyring)

    def _remember(self, user: str, value: str | None) -> None:
        self._forget(user)
        if value:
            self._cache[user] = Secret(value)
        else:
            self._missing_until[user] = self._clock() + _MISSING_FOR_S

    def _forget(self, user: str) -> None:
        self._missing_until.pop(user, None)
        if old := self._cache.pop(user, None):
            old.wipe()


def _move(
    users: Collection[str],
    old: Callable[[], KeyringBackend],
    new: Callable[[], KeyringBackend],
    *,
    is_to_file: bool,
) -> None:
    """Move secrets from one store to another: first all are written and checked, then the old ones are deleted."""
    try:
        source = old()
        stored = {user: text for user in users if (text := source.get_password(SERVICE, user)) is not None}
    except Exception as error:
        if is_to_file and to_secret_error(error).state in {"no-keyring", "refused"}:
            return
        raise
    if not stored:
        return
    target = new()
    for user, text in stored.items():
        target.set_password(SERVICE, user, text)
        if target.get_password(SERVICE, user) != text:
            raise SecretError("refused", "The keyring has not stored the secret.", "Use another keyring")
    for user in stored:
        with suppress(Exception):
            source.delete_password(SERVICE, user)


def _user(backend_id: str, field: str) -> str:
    if field not in FIELDS:
        raise ValueError(f"A backend has no secret field {field!r}; there are {', '.join(FIELDS)}.")
    return f"{backend_id}/{field}"


def _fixes(first: str, backend_id: str, field: str) -> str:
    name = variable(backend_id, field)
    return (
        f"{first}; or set {name}, or {name}_FILE to the path of a file with it; "
        "or keep keys in a file that only you can read: `meshlight settings set key_storage file`."
    )


def _wrong_origin(backend_id: str, given_for: str, origin: str) -> SecretError:
    return SecretError(
        "other-address",
        f"The key of backend {backend_id!r} was given for {given_for}, so it is not sent to {origin}.",
        f"Give it again for the new address: `meshlight secrets set {backend_id}` (one from the environment: "
        "set its variable again and restart); or change the address back.",
    )


def _error_for(error: SecretError, backend_id: str, field: str) -> SecretError:
    """Return a new error for one backend, with the names of its variables in the hint."""
    return SecretError(error.state, error.title, _fixes(error.hint, backend_id, field))
