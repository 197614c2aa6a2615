"""Run an async test on each event loop that the agent may run on."""

import asyncio
from collections.abc import Callable, Coroutine
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest

UVLOOP: Any = import_module("uvloop") if find_spec("uvloop") else None  # not on Windows


def on_each_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on the standard library's loop and on uvloop, with 20 seconds for each."""

    @pytest.mark.parametrize("loop_factory", _loops())
    def run(loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            runner.run(asyncio.wait_for(test(), 20))

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


def _loops() -> list[Any]:
    loops = [pytest.param(asyncio.new_event_loop, id="asyncio")]
    if UVLOOP is not None:
        loops.append(pytest.param(UVLOOP.new_event_loop, id="uvloop"))
    return loops
