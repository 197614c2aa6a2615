"""The system's keyring: which one is used, which are refused, and what its failures mean.

One thread for calls that may hang, such as one into a keyring that has put up a dialog.

Waits for a locked keyring to be unlocked, by looking at its lock: asking for a secret would put up a dialog.
"""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing, suppress
from functools import partial
from typing import Generic, Literal, Protocol, TypeVar

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


T = TypeVar("T")
_LEAST_WAIT_S = 0.001


class _Job(Generic[T]):
    """A call, and who is told of its result."""

    __slots__ = ("call", "future")

    def __init__(self, call: Callable[[], T]) -> None:
        self.call = call
        self.future: Future[T] = Future()

    def make(self) -> Callable[[], None]:
        """Make the call, and return what tells of its result."""
        if not self.future.set_running_or_notify_cancel():
            return lambda: None  # nobody waits any more, and it has not begun
        try:
            result = self.call()
        except BaseException as error:  # noqa: BLE001 - it is handed to the waiter as it is
            return partial(self.future.set_exception, error)
        return partial(self.future.set_result, result)


class Worker:
    """Calls are made one after the other in a single daemon thread, started at the first call.

    A call may take `limit_s`. When one takes longer, everybody who waits is let go with TimeoutError, and so is
    who comes while it still hangs: however long a dialog stays open, there is one thread and no queue behind it.
    The thread being a daemon, it never holds up the end of the process.
    """

    def __init__(self, name: str, limit_s: float) -> None:
        self._name = name
        self._limit_s = limit_s
        self._jobs: queue.SimpleQueue[_Job[object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._begun: float | None = None
        """When the call that is running now began, on the monotonic clock; written by the thread alone."""

    async def run(self, call: Callable[[], T], then: Callable[[T], None] | None = None) -> T:
        """Return what `call` returns, or raise what it raises; TimeoutError as said above.

        `then` is called in the event loop with the result even if the caller has given up by then.
        """
        if self._is_stuck():
            raise TimeoutError
        job = _Job(call)
        if then is not None:
            self._tell_later(job.future, then)  # first, so that it is told before the caller goes on
        waiter = asyncio.wrap_future(job.future)
        self._start()
        self._jobs.put(job)  # type: ignore[arg-type]  # the thread does not look at the result
        try:
            while not waiter.done():
                await asyncio.wait([waiter], timeout=self._wait_s())
                if not waiter.done() and self._is_stuck():
                    raise TimeoutError
            return waiter.result()
        finally:
            waiter.cancel()  # a call that has not begun is left out; one that runs can't be stopped

    def close(self) -> None:
        """Let the thread end once it is free."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def _tell_later(self, future: Future[T], then: Callable[[T], None]) -> None:
        loop = asyncio.get_running_loop()

        def done(future: Future[T]) -> None:
            if not future.cancelled() and future.exception() is None:
                with suppress(RuntimeError):  # the loop may have ended while the call hung
                    loop.call_soon_threadsafe(then, future.result())

        future.add_done_callback(done)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._begun = time.monotonic()
            tell = job.make()
            self._begun = None  # first: who is told may come with the next call at once
            tell()

    def _is_stuck(self) -> bool:
        return self._begun is not None and time.monotonic() - self._begun >= self._limit_s

    def _wait_s(self) -> float:
        """How long until the running call may be stuck."""
        begun = self._begun
        left = self._limit_s if begun is None else self._limit_s - (time.monotonic() - begun)
        return max(left, _LEAST_WAIT_S)


LOOK_S = 2.0


class LockWatch:
    """Looks every `look_s` seconds while there is something to wait for, and never otherwise.

    `is_locked` is called in the worker's thread: True, False, or None where the keyring can't say. `on_unlocked` is
    told once, in the event loop.
    """

    def __init__(
        self,
        worker: Worker,
        is_locked: Callable[[], bool | None],
        on_unlocked: Callable[[], None],
        look_s: float = LOOK_S,
    ) -> None:
        self._worker = worker
        self._is_locked = is_locked
        self._on_unlocked = on_unlocked
        self._look_s = look_s
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Wait for the unlocking from now on; twice is once."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def end(self) -> None:
        """Wait no more."""
        if self._task is not None:
            with suppress(RuntimeError):  # the loop may be gone, and the task with it
                self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._look_s)
            try:
                locked = await self._worker.run(self._is_locked)
            except Exception:  # noqa: BLE001 - a dialog is open still, or the bus is away: each has its own error
                locked = True
            if locked is None:
                return
            if not locked:
                self._task = None
                self._on_unlocked()
                return
