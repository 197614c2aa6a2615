"""A connection that is being opened for a request that waits in no task.

Most backends have an IP address and speak HTTP in clear. Such a connection takes one wait, so it is opened without a
task of its own: many that start at once would have that many. `Connector.connect` has the rules; these are its means.
"""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from meshlight.domain.deadlines import Deadline, Deadlines
from meshlight.domain.errors import ConnectError
from meshlight.http_client.connection import Connection
from meshlight.http_client.connector import Connector, explain, is_to_itself


class Opening:
    """A connection that is being opened: either the next step is called at its end, or a task waits for that."""

    __slots__ = ("_on_end", "connection", "error", "is_over", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.connection: Connection | None = None
        self.error: BaseException | None = None
        """Why there is none: a ConnectError, mostly."""
        self.is_over = False
        """Whether one of the two above is there, or nobody wants a connection any more."""
        self._on_end: Callable[[], None] | None = None

    def then(self, call: Callable[[], None] | None) -> None:
        """Call this at the end, instead of what was to be called."""
        self._on_end = call
        if self.is_over and call is not None:
            self.loop.call_soon(call)

    async def wait(self) -> Connection:
        """Return the connection, or raise the error; cancelling closes it."""
        ended: asyncio.Future[None] = self.loop.create_future()
        self.then(partial(_end_wait, ended))  # not at once: a cancellation that is due comes first
        try:
            await ended
        except asyncio.CancelledError:
            self.abandon()
            raise
        if self.connection is not None:
            return self.connection
        raise self.error or ConnectionError

    def abandon(self) -> None:
        """Close it: nobody wants it any more."""
        self._on_end = None
        if self.connection is not None:
            self.connection.abort()
        elif not self.is_over:
            self.is_over = True
            self.cancel()

    def cancel(self) -> None:
        """Stop opening it."""

    def end(self, connection: Connection | None, error: BaseException | None) -> None:
        """Give it to who wants it."""
        if self.is_over:
            if connection is not None:
                connection.abort()
            return
        self.is_over, self.connection, self.error = True, connection, error
        call, self._on_end = self._on_end, None
        if call is not None:
            call()


def _end_wait(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


class TaskOpening(Opening):
    """A connection that a task opens."""

    __slots__ = ("_task",)

    def __init__(self, loop: asyncio.AbstractEventLoop, connect: Coroutine[Any, Any, Connection]) -> None:
        super().__init__(loop)
        self._task = loop.create_task(connect)
        self._task.add_done_callback(self._done)

    def cancel(self) -> None:
        """Stop opening it."""
        self._task.cancel()

    def _done(self, task: asyncio.Task[Connection]) -> None:
        if task.cancelled():
            self.end(None, asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            self.end(None, error)
        else:
            self.end(task.result(), None)


class Dial(Opening):
    """A connection that is opened to an IP address, in clear, without a task.

    The steps of `create_connection` are taken here, as a task takes them.
    """

    __slots__ = ("_connector", "_deadline", "_due", "_is_late", "_limit_s", "_steps", "_wait")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        connector: Connector,
        ip: str,
        limit_s: float,
        deadlines: Deadlines,
    ) -> None:
        super().__init__(loop)
        self._connector = connector
        self._limit_s = limit_s
        self._is_late = False
        self._due = loop.time() + limit_s
        self._deadline = Deadline(deadlines, loop, self._missed)
        self._deadline.due_in(limit_s)
        self._wait: asyncio.Future[Any] | None = None
        self._steps: Coroutine[Any, Any, tuple[asyncio.Transport, Connection]] = loop.create_connection(
            self._make, ip, connector.address.port
        )
        self._step(None)

    def cancel(self) -> None:
        """Stop opening it."""
        self._deadline.close()
        if self._wait is not None:
            self._wait.cancel()

    def _make(self) -> Connection:
        return self._connector.new_connection(self.loop)

    def _step(self, _: asyncio.Future[Any] | None) -> None:
        try:
            wait: asyncio.Future[Any] | None = self._steps.send(None)
        except StopIteration as made:
            self._made(*made.value)
        except asyncio.CancelledError as error:
            self._failed(error)
        except OSError as error:
            self._failed(self._explained(error))
        except Exception as error:  # noqa: BLE001 - whoever waits gets it, as from a task
            self._failed(error)
        else:
            self._wait = wait
            if wait is None:
                self.loop.call_soon(self._step, None)
            else:
                wait.add_done_callback(self._step)

    def _made(self, transport: asyncio.Transport, connection: Connection) -> None:
        self._deadline.close()
        if is_to_itself(transport, self._connector.address.port):
            connection.abort()
            self.end(None, self._explained(ConnectionRefusedError()))
        else:
            self.end(connection, None)

    def _failed(self, error: BaseException) -> None:
        self._deadline.close()
        self.end(None, error)

    def _missed(self) -> None:
        """Give up, as `fair_timeout` does: not for what this process was late itself."""
        late_s = self.loop.time() - self._due
        if not self._is_late and late_s > 0:
            self._is_late = True
            self._deadline.due_in(late_s)
            return
        self._failed(self._explained(TimeoutError()))
        self.cancel()

    def _explained(self, error: OSError) -> ConnectError:
        where = self._connector.address.host_port
        return explain(error, where, is_tls=False, limit_s=self._limit_s)
