"""Work on large bodies, done beside the event loop: while it runs, everybody else is served."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

LARGE = 1 << 18
"""Bytes from which on a body is decoded and translated in a thread."""
_pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="aside")
"""Of its own, so that names are still looked up while large bodies wait; and few, for each holds a body in memory."""

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread_if_large(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Do `work`, which takes time in proportion to `size` bytes: at once, or in a thread if they are many.

    Returns or raises what `work` does. When this is cancelled it waits for the thread first, so that what `work`
    changes is never used by two at once.
    """
    if size <= LARGE:
        return work(*args, **kwargs)
    working = asyncio.get_running_loop().run_in_executor(_pool, partial(work, *args, **kwargs))
    try:
        return await asyncio.shield(working)
    except asyncio.CancelledError:
        await asyncio.wait([working])
        if not working.cancelled():
            working.exception()  # nobody is left to hear of it
        raise
