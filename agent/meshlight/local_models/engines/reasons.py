"""Why a model of this machine can't be used now, in words: the cause with its numbers, and what to do next."""

import math
from collections.abc import Sequence

from meshlight.backends.metadata import bytes_text
from meshlight.domain.backend import Reason
from meshlight.domain.local_models import ModelFormat
from meshlight.domain.text import count, duration, sanitize_line
from meshlight.local_models.engines.eviction import Held, Offer, Room

CLOSING = Reason("stopping", "Meshlight is stopping.", "Ask again when it has started.")
DISABLED = Reason(
    "local-disabled",
    "This machine's own models are switched off.",
    "Set `enabled = true` below `[local]` in the configuration.",
)
HIDDEN = Reason(
    "hidden",
    "This model is hidden, so it gets no requests.",
    "Show it again: its panel, or `hidden = false`.",
)
GONE = Reason(
    "missing",
    "Its file is not there any more.",
    "Connect its drive or put the file back, then press Refresh; it was moved or deleted otherwise.",
)
UNLOADED = Reason("unloaded", "It was unloaded while it was being loaded.", "Ask again, and it is loaded.")
UNLOADED_WHILE_ANSWERING = Reason("unloaded", "It was unloaded by force.", "Ask again, and it is loaded.")
NOT_LOADED = Reason("engine-ended", "Its engine ended before the model was loaded.", "Look at its log.")
_NO_RUNNER = {
    "gguf": "`meshlight models pull engine`, `brew install llama.cpp` or `winget install llama.cpp`.",
    "mlx": "On a Mac with Apple silicon: `pip install mlx-lm`. Elsewhere, get the model as GGUF.",
    "safetensors": 'Get the model as GGUF, or install vLLM and set `runner = "vllm"` below `[local]`.',
}


def no_runner(model_format: ModelFormat) -> Reason:
    """Say that nothing here can run a model of this format."""
    return Reason("no-runner", "Nothing on this machine can run this model.", _NO_RUNNER[model_format])


def no_memory(
    offer: Offer,
    held: Sequence[Held],
    room: Room,
    *,
    is_guest: bool,
    is_limited: bool,
    failure: Reason | None,
) -> Reason:
    """Say why a model can't be loaded: by numbers, and by what stays loaded.

    `is_limited` says that the user has set what models may take, `failure` why its last load failed.
    """
    kept = [one for one in held if one.is_kept]
    names = ", ".join(sanitize_line(one.model) for one in kept)
    stays = [one for one in held if not one.is_leaving] if is_guest or failure is not None else kept
    can_be_had = max(0, room.budget_bytes - sum(one.need_bytes for one in stays))
    if len(stays) >= room.max_loaded and offer.need_bytes <= can_be_had:
        text = f"{count(room.max_loaded, 'model')} may be loaded at a time, and no place can be had"
    else:
        text = f"Needs {bytes_text(offer.need_bytes)}, {bytes_text(can_be_had)} can be had"
    if failure is not None:
        text += f": nothing is unloaded for it, because its last load failed. {failure.text}"
        return Reason("no-memory", text, f"{failure.fix} Load it by hand to try it all the same.".strip())
    if is_guest:
        text += ": a peer's request unloads nothing here."
        return Reason("no-memory", text, "Ask again when models have been unloaded, or another machine.")
    text += f": models may take {bytes_text(room.budget_bytes)} in all"
    text += f", and {names} {'is' if len(kept) == 1 else 'are'} kept." if kept else "."
    fixes = [f"unload {names}"] if kept else []
    fixes += ["use a smaller quantisation or context"]
    fixes += ["raise `memory` below `[local]`" if is_limited else "close other programs"]
    if len(stays) >= room.max_loaded:
        fixes += ["raise `max_loaded`"]
    fix = ", ".join(fixes[:-1]) + f" or {fixes[-1]}."
    return Reason("no-memory", text, fix[0].upper() + fix[1:])


def memory_is_awaited() -> Reason:
    """Say to a peer that the owner's request is first."""
    return Reason(
        "no-memory",
        "The memory that could be had is wanted by a request of this machine.",
        "Ask again in a minute, or another machine.",
    )


def making_room(models: Sequence[str]) -> Reason:
    """Say that others leave the memory for a model."""
    return Reason("making-room", f"Waits until {_names(models)} has left the memory.")


def waiting_for_busy(offer: Offer, models: Sequence[str]) -> Reason:
    """Say for whose answers a model waits."""
    return Reason(
        "waiting-for-memory",
        f"Needs {bytes_text(offer.need_bytes)}, and waits until {_names(models)} has answered.",
        "Wait, or unload one of them.",
    )


def waiting_in_line(models: Sequence[str]) -> Reason:
    """Say that other models are to be loaded first."""
    return Reason("waiting-for-memory", f"Waits for memory, after {_names(models)}.", "Wait.")


def queue_full(waiting: int, wait_s: float) -> Reason:
    """Say that too many requests wait for one load."""
    return Reason(
        "loading-queue-full",
        f"It is being loaded, and {count(waiting, 'request')} wait for it already.",
        f"Ask again in {duration(max(1, math.ceil(wait_s)))}.",
    )


def paused(failure: Reason, wait_s: float) -> Reason:
    """Say why a model failed, and when it is tried again."""
    again = f"It is tried again by a request in {duration(max(1, math.ceil(wait_s)))}, or at once by Load."
    return Reason(failure.code, failure.text, f"{failure.fix} {again}".strip())


def not_started(error: OSError) -> Reason:
    """Say that the program of an engine could not be started."""
    return Reason(
        "not-started",
        f"Its engine could not be started: {sanitize_line(error.strerror or type(error).__name__)}.",
        "Check that the program is there and may be run: `meshlight doctor`.",
    )


def too_slow(load_s: float) -> Reason:
    """Say that a load took longer than it may."""
    return Reason(
        "load-too-slow",
        f"It was not loaded within {duration(load_s)}.",
        "Raise `load_s` below `[local]`, or use a smaller model.",
    )


def _names(models: Sequence[str]) -> str:
    return " or ".join(map(sanitize_line, models)) or "another model"
