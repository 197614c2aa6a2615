"""Work on large bodies in a thread, so that the event loop serves others meanwhile."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, ParamSpec, TypeVar

LARGE: Final = 1 << 18
"""Bodies of more bytes are decoded and translated in a thread."""
_pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="aside")
"""A pool of its own, so that names are resolved while large bodies wait; small, since each thread holds a body."""

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread_if_large(size: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call `work`, which takes time in proportion to `size` bytes: directly, or in a thread if they are many.

    Returns or raises what `work` does. When cancelled, it waits for the thread first, so that what `work` changes is
    never used by two threads.
    """
    if size <= LARGE:
        return work(*args, **kwargs)
    future = asyncio.get_running_loop().run_in_executor(_pool, partial(work, *args, **kwargs))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # counts as retrieved: nobody is left to handle it
        raise
