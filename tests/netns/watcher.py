"""A program that only looks around: `python -m peers.watcher`, run on a machine of the tests' network.

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
    """Look around until SIGTERM or the end of stdin."""
    loop = asyncio.get_running_loop()
    sightings = DiscoveredPeers(loop.time, loop.call_later)

    def tell() -> None:
        seen = {
            "entries": sightings.entries,
            "ignored": sightings.ignored,
            "problem": sightings.problem,
            "duplicate": sightings.duplicate,
            "announced": sightings.is_announced,
        }
        sys.stdout.buffer.write(msgspec.json.encode(seen) + b"\n")
        sys.stdout.buffer.flush()

    async def obey() -> None:
        reader = asyncio.StreamReader()
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            sightings.announce(msgspec.json.decode(line, type=Announcement | None))

    sightings.on_change = tell
    await sightings.start()
    task = asyncio.create_task(obey())
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    await asyncio.wait((task,))
    await sightings.stop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the service's own
        runner.run(watch())
