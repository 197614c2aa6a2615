"""How much memory a model needs with its context, and what this machine's models may take in all."""

import re
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from meshlight.domain.errors import BadRequest
from meshlight.domain.local_models import LocalModel
from meshlight.domain.local_views import DeviceView, Fit

CONTEXTS = (32_768, 16_384, 8_192, 4_096)
"""The contexts that `auto` chooses from, in tokens."""
BATCH = 512
"""Tokens that an engine computes at once; it keeps a score (four bytes) for each word of the vocabulary and token."""
OVERHEAD_BYTES = 100 << 20
"""What an engine takes besides weights, cache and scores."""
RESERVE_BYTES = 2 * 10**9
RESERVE_SHARE = 0.1
"""What `auto` leaves to all else: this share of the memory, and at least `RESERVE_BYTES`."""
APPLE_SHARE = 0.66
APPLE_LARGE_SHARE = 0.75
APPLE_LARGE_BYTES = 64 << 30
"""Apple's graphics may use this share of the memory, and the larger one from this size on."""
DEVICE_MARGIN_BYTES = 1 << 30
"""What llama.cpp leaves free of a graphics card's memory."""
SIZE_MAX = 10**15
_UNITS = {"M": 10**6, "G": 10**9, "T": 10**12, "MI": 1 << 20, "GI": 1 << 30, "TI": 1 << 40}
_SIZE = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([MGT]I?)B?", re.IGNORECASE | re.ASCII)


class MemoryNow(Struct, frozen=True):
    """The memory of the machine at one moment, in bytes."""

    total_bytes: int
    available_bytes: int
    """What programs could still take without swapping."""


def parse_size(text: str) -> int:
    """Return the bytes that a text such as `12 GB` or `11.5 GiB` means; raises BadRequest that says what is wrong."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise BadRequest(
            f"{text[:40]!r} is no amount of memory.",
            "Write a number and a unit, such as `12 GB` (or MB, TB, GiB), or `auto`.",
            param="memory",
        )
    size = int(float(found[1]) * _UNITS[found[2].upper()])
    if not 0 < size <= SIZE_MAX:
        raise BadRequest(
            f"{text[:40]!r} is not between 1 MB and 1,000 TB.",
            "Write what models may take in all, such as `12 GB`, or `auto`.",
            param="memory",
        )
    return size


def memory_limit(text: str) -> int | None:
    """Return the bytes of the setting `memory`, None for `auto`; raises BadRequest."""
    return None if text.strip().lower() == "auto" else parse_size(text)


def need_bytes(model: LocalModel, context: int) -> int:
    """Return the memory that a model needs with a context of so many tokens, at most."""
    scores = 4 * BATCH * model.vocabulary
    return model.size_bytes + model.kv_bytes_per_token * context + scores + OVERHEAD_BYTES


def measured_need(model: LocalModel, resident_bytes: int, *, at_most: int, has_worked: bool) -> int:
    """Return what a loaded model needs, by the memory that its engine takes; 0 if that is not known.

    Never less than its weights: those that are mapped from the file may have left the memory for a while. Before its
    first request an engine has not touched the memory of the scores yet. Only llama.cpp takes all of the cache at the
    start; of others, at least what the formula says (`at_most`) is counted.
    """
    if resident_bytes <= 0:
        return 0
    taken = max(resident_bytes, model.size_bytes)
    if model.format != "gguf":
        return max(taken, at_most)
    return taken if has_worked else max(taken, min(at_most, taken + 4 * BATCH * model.vocabulary))


def contexts_for(
    model: LocalModel, of_all: Literal["auto"] | int, of_model: int | None = None
) -> tuple[int, ...]:
    """Return the contexts that a model may get, the most wanted first; `of_model` is the model's own setting.

    Only what is set for the model itself may be larger than what it was made for.
    """
    if of_model is not None:
        return (of_model,)
    if of_all != "auto":
        return (min(of_all, model.context_max or of_all),)
    own = model.context_max or CONTEXTS[-1]
    return tuple(tokens for tokens in CONTEXTS if tokens <= own) or (own,)


def device_room(devices: Sequence[DeviceView]) -> int:
    """Return what more fits into the memory of devices that have their own."""
    return sum(max(0, device.free_bytes - DEVICE_MARGIN_BYTES) for device in devices)


def budget_bytes(
    now: MemoryNow, held_bytes: int, device_bytes: int, limit: int | None, *, is_apple: bool = False
) -> int:
    """Return what models may take in all, loaded ones included.

    `held_bytes` is what their engines take of the memory that is not available now, `device_bytes` the room on
    devices (loaded models included), `limit` the user's setting, which can't exceed what the machine has.
    """
    if limit is not None:
        return min(limit, now.total_bytes + device_bytes)
    reserve = max(RESERVE_BYTES, int(now.total_bytes * RESERVE_SHARE))
    room = min(now.available_bytes + held_bytes, now.total_bytes) - reserve
    if is_apple:
        share = APPLE_SHARE if now.total_bytes < APPLE_LARGE_BYTES else APPLE_LARGE_SHARE
        room = min(room, int(now.total_bytes * share))
    return max(0, room) + device_bytes


def fit_of(need: int, free: int, after_unloading: int) -> Fit:
    """Return whether something fits into what is free, or would be free without the models that can be unloaded."""
    if need <= free:
        return "now"
    return "after-unloading" if need <= after_unloading else "never"
