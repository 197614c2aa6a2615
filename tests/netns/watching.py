"""A process that browses the network of a machine, and what it has discovered."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from meshlight.domain.peers import Sighting
from meshlight.peers.mdns.records import Announcement
from netns.namespaces import Machine

TESTS = Path(__file__).parents[1]


class View(msgspec.Struct):
    """What a watcher has discovered."""

    entries: dict[str, Sighting] = {}
    ignored: int = 0
    problem: str = ""
    duplicate: str = ""
    announced: bool = False


class Watcher:
    """The watcher process of a machine; see watcher.py."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.view = View()

    @classmethod
    async def on(cls, machine: Machine) -> Watcher:
        return cls(await machine.run([sys.executable, "-m", "netns.watcher"], {"PYTHONPATH": str(TESTS)}))

    def announce(self, announcement: Announcement | None) -> None:
        """Have it announce this; None: nothing."""
        assert self.process.stdin is not None
        self.process.stdin.write(msgspec.json.encode(announcement) + b"\n")

    async def until(self, is_so: Callable[[View], object], within_s: float) -> float:
        """Wait until this holds of its view; returns the seconds that took."""
        assert self.process.stdout is not None
        started = time.monotonic()
        try:
            async with asyncio.timeout(within_s):
                while not is_so(self.view):
                    line = await self.process.stdout.readline()
                    assert line, "the watcher ended"
                    self.view = msgspec.json.decode(line, type=View)
        except TimeoutError:
            pytest.fail(f"not within {within_s} s; it sees {self.view}")
        return time.monotonic() - started
