"""The end of a program that was asked something."""

import asyncio
from contextlib import suppress


async def end_process(process: asyncio.subprocess.Process) -> None:
    """Kill a process if it still runs, wait for it, and close its pipes, which its own children may hold open."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await asyncio.shield(process.wait())
    process._transport.close()  # type: ignore[attr-defined] # noqa: SLF001 - asyncio has no other way
