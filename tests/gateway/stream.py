"""Reads `/mesh/events` as a page does."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
from msgspec import Struct

from node import Node

WAIT_S = 30.0


class Told(Struct):
    """One event."""

    id: int
    name: str
    data: dict[str, Any]


class Stream:
    """One open stream. `raw` is all that has come."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.raw = ""
        self.comments = 0
        self._lines = answer.aiter_lines()

    async def next(self) -> Told | None:
        """Return the next event; None at the end."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(WAIT_S):
            async for line in self._lines:
                self.raw += line + "\n"
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif fields:
                    return Told(int(fields["id"]), fields["event"], json.loads(fields["data"]))
        return None

    async def until(self, holds: Callable[[Told], bool]) -> list[Told]:
        """Return the events up to the first that holds."""
        told: list[Told] = []
        while (event := await self.next()) is not None:
            told.append(event)
            if holds(event):
                return told
        raise AssertionError(f"the stream ended after {[event.name for event in told]}")


@asynccontextmanager
async def opened(node: Node, last: int | str | None = None) -> AsyncIterator[Stream]:
    """Open a stream, as if the last event that was read had this number."""
    headers = {} if last is None else {"last-event-id": str(last)}
    async with node.http.stream("GET", "/mesh/events", headers=headers, timeout=WAIT_S) as answer:
        yield Stream(answer)
