"""One thread for calls that may hang, such as one into a keyring that has put up a dialog."""

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Generic, TypeVar

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
