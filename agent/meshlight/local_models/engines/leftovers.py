"""The engines that run, noted in a file, so that the next start can end those of a service that crashed.

A process is ended only if its number *and* its start are the noted ones: never by name, as others run the same
programs.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec
from msgspec import Struct

from meshlight.domain.decoding import decode_or_none
from meshlight.local_models.engines.process_facts import start_mark

MAX_BYTES: Final = 65_536
_NOTED_MAX: Final = 200


class NotedEngine(Struct, frozen=True, kw_only=True):
    """One process of ours."""

    pid: int
    mark: str
    """See `start_mark`."""
    model: str = ""


def _end(pid: int, mark: str) -> bool:
    from meshlight.local_models.engines.process_family import end_family  # noqa: PLC0415 - once there was an engine

    return end_family(pid, mark)


class Leftovers:
    """The noted engines.

    `read` returns the file's bytes (empty without one), `write` replaces it; both may raise OSError. No
    engine fails because the file can't be written.
    """

    def __init__(
        self,
        read: Callable[[], bytes],
        write: Callable[[bytes], None],
        mark_of: Callable[[int], str] = start_mark,
        end: Callable[[int, str], bool] = _end,
    ) -> None:
        self._read = read
        self._write = write
        self._mark_of = mark_of
        self._end = end
        self._noted: dict[int, NotedEngine] = {}

    def add(self, pid: int, model: str) -> None:
        """Note a process that was just started."""
        if mark := self._mark_of(pid):
            self._noted[pid] = NotedEngine(pid=pid, mark=mark, model=model)
            self._save()

    def remove(self, pid: int) -> None:
        """Forget a process that has ended."""
        if self._noted.pop(pid, None) is not None:
            self._save()

    async def end_all(self) -> int:
        """End what an earlier service has left behind, and return how many those were."""
        left = [noted for noted in self._load() if noted.pid not in self._noted and noted.pid != os.getpid()]
        ended = 0
        for noted in left:
            ended += await asyncio.to_thread(self._end, noted.pid, noted.mark)
        if left:
            self._save()
        return ended

    def _load(self) -> list[NotedEngine]:
        try:
            data = self._read()
        except OSError:
            return []
        noted = (decode_or_none(data, list[NotedEngine]) or []) if len(data) <= MAX_BYTES else []
        return [one for one in noted[:_NOTED_MAX] if one.pid > 1]

    def _save(self) -> None:
        with suppress(OSError):
            self._write(msgspec.json.encode(list(self._noted.values())))
