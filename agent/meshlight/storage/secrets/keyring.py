"""The system's keyring: which one is used and which are refused, and what its failures mean.

Calls into it may hang while it shows a dialog, so they run in one thread of their own (`Worker`). While it is locked,
`LockWatch` polls the lock itself, since requesting a secret would open a dialog.
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
"""The service name of our secrets in the keyring; the user name is `<backend id>/<field>`."""


class KeyringBackend(Protocol):
    """The part of a `keyring` backend that is used here."""

    def get_password(self, service: str, username: str) -> str | None:
        """Return the secret, or None."""

    def set_password(self, service: str, username: str, password: str) -> None:
        """Store the secret."""

    def delete_password(self, service: str, username: str) -> None:
        """Delete the secret."""


class SecretStatus(Struct, frozen=True):
    """Whether a secret can be read, with the reason for people; the secret itself is not in it."""

    state: Literal["present"] | SecretState
    text: str
    fix: str = ""


def system_keyring() -> KeyringBackend:
    """Return the keyring of this user; raises SecretError.

    The first call takes 0.1 s, and may wait for D-Bus.
    """
    # Imported by the worker thread at the first use: the import takes 0.1 s, and most requests need no secret.
    import keyring  # noqa: PLC0415
    import keyring.core  # noqa: PLC0415

    found = keyring.get_keyring()
    if _module_of(found) == "keyring.backends.fail":
        keyring.core.init_backend()  # one may have started since
        found = keyring.get_keyring()
    return usable(found)


def usable(backend: KeyringBackend) -> KeyringBackend:
    """Return the backend if it stores secrets safely; raises SecretError if not."""
    module = _module_of(backend)
    if module == "keyring.backends.chainer":
        for link in getattr(backend, "backends", ()):
            if _module_of(link) not in _REFUSED and not _module_of(link).startswith(_PLAIN):
                return usable(link)
        raise SecretError("no-keyring", "This system has no keyring that can be used.", _INSTALL)
    if module.startswith(_PLAIN):
        raise SecretError(
            "refused",
            f"The keyring in use, {module}, keeps secrets in plain files or asks on a terminal.",
            _INSTALL,
        )
    if module in _REFUSED:
        raise SecretError(*_REFUSED[module], _INSTALL)
    return backend


def is_locked(backend: KeyringBackend) -> bool | None:
    """Whether the keyring is locked, checked without opening a dialog; None where that is impossible.

    Cheap (two milliseconds), but over D-Bus: for the worker thread. Raises what D-Bus raises.
    """
    if _module_of(backend) != "keyring.backends.SecretService":
        return None
    import secretstorage  # noqa: PLC0415 - installed with the keyring that is in use

    path = getattr(backend, "preferred_collection", secretstorage.collection.DEFAULT_COLLECTION)
    with closing(secretstorage.dbus_init()) as bus:
        return bool(secretstorage.Collection(bus, path).is_locked())


def to_secret_error(error: Exception) -> SecretError:
    """Turn what a keyring raised into an error for people, without its own text, which may contain anything."""
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
    "keyring.backends.null": ("refused", "The keyring in use, keyring.backends.null, stores nothing."),
}
_INSTALL = "Install and unlock a keyring (GNOME Keyring, KWallet, KeePassXC)"
_UNLOCK = "Unlock the keyring (answer its dialog, or log in to the desktop) and try again"


def _module_of(backend: object) -> str:
    return type(backend).__module__


T = TypeVar("T")
_LEAST_WAIT_S = 0.001


class _Job(Generic[T]):
    """A call, and the future of its result."""

    __slots__ = ("call", "future")

    def __init__(self, call: Callable[[], T]) -> None:
        self.call = call
        self.future: Future[T] = Future()

    def run(self) -> Callable[[], None]:
        """Run the call, and return the function that sets the result of the future."""
        if not self.future.set_running_or_notify_cancel():
            return lambda: None  # cancelled before it started
        try:
            result = self.call()
        except BaseException as error:  # noqa: BLE001 - passed on to the waiter
            return partial(self.future.set_exception, error)
        return partial(self.future.set_result, result)


class Worker:
    """Runs calls one after the other in a single daemon thread, started at the first call.

    A call may take `limit_s`. When one takes longer, all waiting callers get TimeoutError, and so do new ones while
    it still hangs: however long a dialog stays open, there is one thread and no growing queue. A daemon thread never
    delays the end of the process.
    """

    def __init__(self, name: str, limit_s: float) -> None:
        self._name = name
        self._limit_s = limit_s
        self._jobs: queue.SimpleQueue[_Job[object] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._started_at: float | None = None
        """Monotonic start of the call that is running now; written by the thread alone."""

    async def run(self, call: Callable[[], T], then: Callable[[T], None] | None = None) -> T:
        """Return what `call` returns, or raise what it raises; TimeoutError as described above.

        `then` is called in the event loop with the result even if the caller has given up by then.
        """
        if self._is_stuck():
            raise TimeoutError
        job = _Job(call)
        if then is not None:
            self._notify_later(
                job.future, then
            )  # registered first, so that `then` runs before the caller goes on
        waiter = asyncio.wrap_future(job.future)
        self._start()
        self._jobs.put(job)  # type: ignore[arg-type]  # the thread does not use the result
        try:
            while not waiter.done():
                await asyncio.wait([waiter], timeout=self._wait_s())
                if not waiter.done() and self._is_stuck():
                    raise TimeoutError
            return waiter.result()
        finally:
            waiter.cancel()  # skips a call that has not started; a running one can't be stopped

    def close(self) -> None:
        """End the thread once it is free."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread = None

    def _notify_later(self, future: Future[T], then: Callable[[T], None]) -> None:
        loop = asyncio.get_running_loop()

        def done(future: Future[T]) -> None:
            if not future.cancelled() and future.exception() is None:
                with suppress(RuntimeError):  # the loop may have ended during the call
                    loop.call_soon_threadsafe(then, future.result())

        future.add_done_callback(done)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._started_at = time.monotonic()
            set_result = job.run()
            self._started_at = None  # first, because the caller may make its next call at once
            set_result()

    def _is_stuck(self) -> bool:
        return self._started_at is not None and time.monotonic() - self._started_at >= self._limit_s

    def _wait_s(self) -> float:
        """Return the seconds until the running call counts as stuck."""
        start = self._started_at
        left = self._limit_s if start is None else self._limit_s - (time.monotonic() - start)
        return max(left, _LEAST_WAIT_S)


LOCK_POLL_S = 2.0


class LockWatch:
    """Polls a locked keyring every `poll_s` seconds until it is unlocked, and does nothing otherwise.

    `is_locked` is called in the worker's thread; None means that the keyring can't tell, and ends the polling.
    `on_unlocked` is called once, in the event loop.
    """

    def __init__(
        self,
        worker: Worker,
        is_locked: Callable[[], bool | None],
        on_unlocked: Callable[[], None],
        poll_s: float = LOCK_POLL_S,
    ) -> None:
        self._worker = worker
        self._is_locked = is_locked
        self._on_unlocked = on_unlocked
        self._poll_s = poll_s
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start polling; does nothing while it polls already."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())

    def stop(self) -> None:
        """Stop polling."""
        if self._task is not None:
            with suppress(RuntimeError):  # the loop may have ended, and the task with it
                self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._poll_s)
            try:
                locked = await self._worker.run(self._is_locked)
            except Exception:  # noqa: BLE001 - a dialog is still open, or D-Bus is gone: each has its own error
                locked = True
            if locked is None:
                return
            if not locked:
                self._task = None
                self._on_unlocked()
                return
