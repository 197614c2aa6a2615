"""What both runners of llama.cpp have in common: how it is told what a model is for."""

import re
from collections.abc import Sequence
from typing import Final

from meshlight.domain.local_models import LocalModel
from meshlight.domain.local_views import DeviceView
from meshlight.domain.text import sanitize

CACHE_RAM_MIB: Final = 512
"""Memory for prompts that were answered before. Its own default, 8 GiB, would be counted by nobody."""
_DEVICE: Final = re.compile(r"^\s+(\w+): (.+) \((\d+) MiB, (\d+) MiB free\)\s*$", re.MULTILINE)
_MIB: Final = 1024 * 1024
_DEVICES_MAX: Final = 64
_NAME_MAX: Final = 80


def api_name(model: LocalModel) -> str:
    """Return the name under which an engine knows a model: its id, without the comma that separates names there."""
    return model.id.replace(",", "_")


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
