"""What both runners of llama.cpp have in common: how it is told what a model is for."""

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from meshlight.domain.engine_arguments import in_two
from meshlight.domain.local_models import LocalModel
from meshlight.domain.local_views import DeviceView
from meshlight.domain.text import sanitize

CACHE_RAM_MIB: Final = 512
"""Memory for prompts that were answered before. Its own default, 8 GiB, would be counted by nobody."""
SLOTS: Final = 4
"""Requests that are answered at the same time, unless the user says otherwise."""
_SLOTS_FLAGS: Final = frozenset({"-np", "--parallel"})
_DEVICE: Final = re.compile(r"^\s+(\w+): (.+) \((\d+) MiB, (\d+) MiB free\)\s*$", re.MULTILINE)
_MIB: Final = 1024 * 1024
_DEVICES_MAX: Final = 64
_NAME_MAX: Final = 80
_DIGITS_MAX: Final = 6


def api_name(model: LocalModel) -> str:
    """Return the name under which an engine knows a model: its id, without the comma that separates names there."""
    return model.id.replace(",", "_")


def slots_in(args: Sequence[str]) -> int:
    """Return how many requests an engine with these arguments answers at the same time."""
    parts = in_two(args)
    found = SLOTS
    for flag, value in pairwise(parts):
        if flag in _SLOTS_FLAGS and value.isdecimal() and len(value) < _DIGITS_MAX:
            found = int(value) or SLOTS
    return found


def devices_in(listing: str) -> Sequence[DeviceView]:
    """Return the devices that `--list-devices` shows."""
    return tuple(
        DeviceView(
            name=sanitize(f"{label}: {name}", _NAME_MAX),
            total_bytes=int(total[:12]) * _MIB,
            free_bytes=int(free[:12]) * _MIB,
        )
        for label, name, total, free in _DEVICE.findall(listing)[:_DEVICES_MAX]
    )
