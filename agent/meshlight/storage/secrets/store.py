"""The secrets of backends: where they are kept, and how to get at them without ever waiting long."""

import hashlib
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from meshlight.domain.errors import SecretError
from meshlight.domain.private_variables import OWN_VARIABLES
from meshlight.storage.secrets.environment import checked, secret_of_environment, variable
from meshlight.storage.secrets.keyring import (
    LOOK_S,
    SERVICE,
    KeyringBackend,
    LockWatch,
    SecretFact,
    Worker,
    explained,
    is_locked,
    system_keyring,
    usable,
)
from meshlight.storage.secrets.plain_file import PlainSecrets
from meshlight.storage.secrets.secret import Secret

T = TypeVar("T")
FIELDS = ("api_key",)
"""All that a backend may keep secret; a new one is a word more here, so that `remove_all` knows it too."""
LONGEST = 1280 if sys.platform == "win32" else 1 << 16
"""In characters: the credential store of Windows takes no more."""
_BETWEEN = "\n"
"""Between a secret and the origin that it is for: no secret has a line break."""
_MISSING_FOR_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 60.0, 3600.0


class Secrets:
    """Secrets by backend id and field.

    Order: the environment (`MESHLIGHT_SECRET_<ID>`, `…_FILE`), memory, the system's keyring. With `insecure`,
    the plain `file` takes the keyring's place; it is never fallen back to. The keyring is asked in a thread of
    its own, for at most `limit_s` seconds. After a failure it is left alone for a minute and then ever longer, so
    that a dialog which the user has closed does not come back with each probe; `set`, `remove` and `retry` ask at
    once. While it is locked, its lock is looked at every two seconds, which needs no dialog, and `on_unlocked` is
    called when it is open again. All methods are for the event loop's thread.

    A secret is given for one origin (scheme, host, port of its backend) and kept with it, on a line of its own
    behind it: whoever changes the address alone, in the file perhaps, gets SecretError (other-address). One that was
    kept without is for the origin for which it is first asked, as is one of the environment until the service ends.
    """

    def __init__(  # noqa: PLR0913 - tests name the few that they need
        self,
        *,
        file: Path,
        insecure: bool = False,
        environ: Mapping[str, str] = OWN_VARIABLES,
        keyring: KeyringBackend | None = None,
        limit_s: float = 5.0,
        longest: int = LONGEST,
        clock: Callable[[], float] = time.monotonic,
        is_locked: Callable[[KeyringBackend], bool | None] = is_locked,
        look_s: float = LOOK_S,
        on_unlocked: Callable[[], None] = lambda: None,
    ) -> None:
        self._environ = environ
        self._given: KeyringBackend | None = PlainSecrets(file) if insecure else keyring
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
        """For which origin a secret without one was first asked: its digest and that, by user name."""
        self._failed: Exception | None = None
        """How often reading failed, and how the last time: written by the thread that asks the keyring."""
        self._watch = LockWatch(self._worker, lambda: is_locked(self._open()), self._is_open_again, look_s)
        self._on_unlocked = on_unlocked

    async def get(self, backend_id: str, field: str = "api_key", *, origin: str = "") -> Secret | None:
        """Return the secret, or None if there is none; with an `origin`, only if it was given for that.

        Raises SecretError (locked, no-keyring, refused, other-address).
        """
        if found := secret_of_environment(self._environ, backend_id, field):
            self._check_origin(backend_id, variable(backend_id, field), found.reveal(), origin)
            return found
        kept = await self._read(backend_id, field)
        if kept is None:
            return None
        text, _, given_for = kept.partition(_BETWEEN)
        if not given_for and origin:
            user = _user(backend_id, field)
            is_first = user not in self._origins
            self._check_origin(backend_id, user, text, origin)
            if is_first:
                with suppress(SecretError):  # tried again at the next start; meanwhile it is known here
                    await self.set(backend_id, text, field, origin=origin)
        elif origin and given_for != origin:
            raise _elsewhere(backend_id, given_for, origin)
        return Secret(text)

    async def _read(self, backend_id: str, field: str) -> str | None:
        """Return what is kept as it is kept: the secret, and behind it perhaps its origin."""
        user = _user(backend_id, field)
        if user in self._cache:
            return self._cache[user].reveal()
        if self._clock() < self._missing_until.get(user, 0.0):
            return None
        if self._failure is not None and self._clock() < self._paused_until:
            raise _for(self._failure, backend_id, field)

        failures = self._failures

        def read(keyring: KeyringBackend) -> str | None:
            if self._failed is not None and self._failures != failures:
                raise explained(
                    self._failed
                )  # of several that ask at once, the first puts up the only dialog
            try:
                return keyring.get_password(SERVICE, user)
            except Exception as error:
                self._failures, self._failed = self._failures + 1, error
                raise

        try:
            value = await self._ask(read, lambda value: self._remember(user, value))
        except SecretError as error:
            self._pause(error)
            raise _for(error, backend_id, field) from None
        return value or None

    def _check_origin(self, backend_id: str, whose: str, text: str, origin: str) -> None:
        """Raise SecretError if this same secret was asked for another origin before."""
        if not origin:
            return
        digest = hashlib.sha256(text.encode()).digest()
        known, given_for = self._origins.get(whose, (digest, origin))
        if known == digest and given_for != origin:
            raise _elsewhere(backend_id, given_for, origin)
        self._origins[whose] = (digest, origin)

    async def need(self, backend_id: str, field: str = "api_key") -> Secret:
        """Return the secret; raises SecretError (missing) with the ways to give it if there is none."""
        if secret := await self.get(backend_id, field):
            return secret
        raise SecretError(
            "missing",
            f"No secret is kept for backend {backend_id!r}.",
            _fixes("Give it anew with `meshlight backends add`", backend_id, field),
        )

    async def look(self, backend_id: str, field: str = "api_key") -> SecretFact:
        """Say how it stands with the secret, with the fix in words; never raises."""
        try:
            await self.need(backend_id, field)
        except SecretError as error:
            return SecretFact(error.state, error.title, error.hint)
        return SecretFact("present", f"The secret of backend {backend_id!r} is kept.")

    async def set(
        self, backend_id: str, value: str | Secret, field: str = "api_key", *, origin: str = ""
    ) -> None:
        """Keep the secret, for an `origin` alone; raises SecretError, and what was kept before may be kept still.

        A call that took too long is still carried out when the user answers the dialog.
        """
        user = _user(backend_id, field)
        text = checked((value.reveal() if isinstance(value, Secret) else value).strip(), "this request")
        kept = f"{text}{_BETWEEN}{origin}" if origin else text
        if not text or len(kept) > self._longest:
            raise SecretError(
                "refused",
                f"A secret of {len(text)} characters can't be kept here.",
                f"It must have 1 to {self._longest}; or set {variable(backend_id, field)}_FILE to a file with it.",
            )

        def write(keyring: KeyringBackend) -> None:
            keyring.set_password(SERVICE, user, kept)
            if keyring.get_password(SERVICE, user) != kept:
                raise SecretError("refused", "The keyring has not kept the secret.", "Use another keyring")

        self._forget(user)
        try:
            await self._ask(write, lambda _: self._remember(user, kept))
        except SecretError as error:
            raise _for(error, backend_id, field) from None

    async def remove(self, backend_id: str, field: str = "api_key") -> bool:
        """Forget the secret and return whether there was one; raises SecretError if the keyring keeps it."""
        user = _user(backend_id, field)

        def delete(keyring: KeyringBackend) -> bool:
            if keyring.get_password(SERVICE, user) is None:
                return False
            keyring.delete_password(SERVICE, user)
            return True

        self._forget(user)
        try:
            return await self._ask(delete, lambda _: self._forget(user))
        except SecretError as error:
            raise _for(error, backend_id, field) from None

    async def remove_all(self, backend_id: str) -> None:
        """Forget all that is kept for a backend, when it is removed."""
        for field in FIELDS:
            await self.remove(backend_id, field)

    def in_environment(self, backend_id: str, field: str = "api_key") -> bool:
        """Whether the environment gives this secret, which then wins over a kept one."""
        name = variable(backend_id, field)
        return any(self._environ.get(key, "").strip() for key in (name, f"{name}_FILE"))

    def retry(self) -> None:
        """Ask the keyring anew at the next need, because the user wants to know now."""
        self._works()
        self._missing_until.clear()

    def close(self) -> None:
        """Overwrite what is in memory, and let the thread end."""
        for user in list(self._cache):
            self._forget(user)
        self._watch.end()
        self._worker.close()

    async def _ask(self, call: Callable[[KeyringBackend], T], then: Callable[[T], None]) -> T:
        """Call the keyring in its thread; `then` is told even of what comes too late for the caller."""

        def done(result: T) -> None:
            self._works()
            then(result)

        try:
            return await self._worker.run(lambda: call(self._open()), done)
        except Exception as error:  # noqa: BLE001 - keyrings raise whatever their system does
            raise explained(error) from None

    def _works(self) -> None:
        self._failure, self._paused_until, self._pause_s = None, 0.0, _FIRST_PAUSE_S

    def _pause(self, error: SecretError) -> None:
        """Leave the keyring alone for a while; several failures at once count as one."""
        self._failure = error
        if self._clock() >= self._paused_until:
            self._paused_until = self._clock() + self._pause_s
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
        if error.state == "locked":
            self._watch.begin()

    def _is_open_again(self) -> None:
        self.retry()
        self._on_unlocked()

    def _open(self) -> KeyringBackend:
        """Find the keyring; called in the thread, because looking for one may take its time."""
        return system_keyring() if self._given is None else usable(self._given)

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


def _user(backend_id: str, field: str) -> str:
    if field not in FIELDS:
        raise ValueError(f"A backend has no secret field {field!r}; there are {', '.join(FIELDS)}.")
    return f"{backend_id}/{field}"


def _fixes(first: str, backend_id: str, field: str) -> str:
    name = variable(backend_id, field)
    return (
        f"{first}; or set {name}, or {name}_FILE to the path of a file with it; "
        "or start the service with --insecure-storage, which keeps secrets in a plain file."
    )


def _elsewhere(backend_id: str, given_for: str, origin: str) -> SecretError:
    return SecretError(
        "other-address",
        f"The key of backend {backend_id!r} was given for {given_for}, so it is not sent to {origin}.",
        f"Give it again for the new address: `meshlight secrets set {backend_id}` (one from the environment: "
        "set its variable anew and restart); or change the address back.",
    )


def _for(error: SecretError, backend_id: str, field: str) -> SecretError:
    """Make an error for one backend: with the names of its own variables, and a traceback of its own."""
    return SecretError(error.state, error.title, _fixes(error.hint, backend_id, field))
