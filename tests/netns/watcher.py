"""A program that only runs `DiscoveredPeers`: `python -m netns.watcher`, run on a machine of the tests' network.

A line on stdin is what it shall announce from now on (JSON, or null: be seen no more). A line on stdout is what it
sees, at each change.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import msgspec
import uvloop

from meshlight.peers.mdns.browser import DiscoveredPeers
from meshlight.peers.mdns.records import Announcement


async def watch() -> None:
    """Browse until SIGTERM or the end of stdin."""
    loop = asyncio.get_running_loop()

    def report() -> None:
        adapter = discovered._monitor.adapter
        view = {
            "entries": discovered.entries,
            "ignored": discovered.ignored,
            "problem": discovered.problem,
            "duplicate": discovered.duplicate,
            "announced": adapter is not None and bool(adapter.own),
        }
        sys.stdout.buffer.write(msgspec.json.encode(view) + b"\n")
        sys.stdout.buffer.flush()

    async def read_commands() -> None:
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            discovered.announce(msgspec.json.decode(line, type=Announcement | None))

    discovered = DiscoveredPeers(loop.time, loop.call_later, on_change=report)
    await discovered.start()
    task = asyncio.create_task(read_commands())
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    await asyncio.wait((task,))
    await discovered.stop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the service's own
        runner.run(watch())
