"""The tray's submenu of this machine's own models: what is loaded, what could be, and downloads. Pure functions."""

from bisect import bisect_right
from typing import Final

from meshlight.desktop.tray.menu_items import LINE_CELLS, Action, Item, line, separator
from meshlight.domain.api_types import SnapshotView
from meshlight.domain.local_models import LOCAL_ID, EngineState
from meshlight.domain.local_views import DownloadView, LocalModelView, LocalView
from meshlight.domain.text import count, cut, duration, sanitize, shorten, size_text

MODELS_LISTED: Final = 12
LOADABLE_LISTED: Final = 15
DOWNLOADS_LISTED: Final = 6
NAME_CELLS: Final = 36
OPEN_LOCAL: Final = Action("open", LOCAL_ID)
STARTER: Final = "starter"

_STATES: Final[dict[EngineState, str]] = {
    "ready": "●",
    "draining": "◐",
    "loading": "◐",
    "waiting": "◐",
    "failed": "✖",
}
"""The states of the models that have a line of their own, in its order, each with its shape."""
_ORDER: Final = list(_STATES)
_MIN_S: Final = 60.0
_IDLE_STEPS_S: Final = tuple(
    minutes * _MIN_S for minutes in (1, 2, 3, 4, 5, 10, 15, 20, 30, 45, 60, 120, 240, 480, 720, 1440)
)
"""When the text of an idle time changes: in ever larger steps, so that an idle tray has nothing to do."""
_PROGRESS_STEP: Final = 5
"""Percent of a load's progress that change the text."""


def local_menu(local: LocalView | None, view: SnapshotView | None, later_s: float = 0.0) -> list[Item]:
    """Return the submenu of own models; nothing for those who have none, but an offer if there is no model at all.

    `later_s` is how long ago `local` was true, for the idle times.
    """
    if local is None or not local.enabled:
        return []
    downloads = [one for one in local.downloads if one.state != "done"]
    models = [one for one in local.models if not one.hidden]
    if not models and not downloads:
        return _starter(local, view)
    lines = [
        *_active(models, later_s),
        *_loadable(models),
        _free_memory(models),
        *([separator(1)] if downloads else []),
        *[_download(one) for one in downloads[:DOWNLOADS_LISTED]],
        separator(2),
        line("open", "Open in mesh", OPEN_LOCAL),
    ]
    return [Item(key="local", text="This machine", items=tuple(lines))]


def idle_text(idle_s: float) -> str:
    """Return for how long a model has been idle, in steps that grow: `idle 3 min`, `idle 2 h`."""
    step = bisect_right(_IDLE_STEPS_S, idle_s)
    return f"idle {duration(_IDLE_STEPS_S[step - 1])}" if step else "just used"


def next_change_s(local: LocalView | None, later_s: float) -> float | None:
    """Return in how many seconds the menu changes by time alone; None if it doesn't."""
    changes = [
        _IDLE_STEPS_S[step] - idle_s
        for idle_s in ([] if local is None else _idle_times(local, later_s))
        if (step := bisect_right(_IDLE_STEPS_S, idle_s)) < len(_IDLE_STEPS_S)
    ]
    return min(changes, default=None)


def idle_models(local: LocalView) -> tuple[str, ...]:
    """Return the loaded models that nobody uses and that are not kept."""
    return tuple(one.id for one in local.models if _is_idle(one))


def short_name(id_: str) -> str:
    """Return the part of a model's id that people know it by: `Qwen3-8B-GGUF:Q4_K_M`."""
    return shorten(sanitize(id_).rpartition("/")[2], NAME_CELLS) or "A model"


def _idle_times(local: LocalView, later_s: float) -> list[float]:
    return [
        one.idle_s + later_s
        for one in local.models
        if one.state == "ready" and not one.in_flight and one.idle_s is not None and not one.hidden
    ]


def _is_idle(model: LocalModelView) -> bool:
    return model.state == "ready" and not model.in_flight and not model.keep


def _starter(local: LocalView, view: SnapshotView | None) -> list[Item]:
    """Offer a model to those who have none anywhere and could run it."""
    starter = next((one for one in local.starters if one.name == STARTER and not one.is_here), None)
    if view is None or view.models or starter is None or not local.can_start:
        return []
    text = f"Get a starter model ({starter.sizes})"
    return [line("starter", text, Action("pull", STARTER))]


def _active(models: list[LocalModelView], later_s: float) -> list[Item]:
    active = sorted(
        (one for one in models if one.state in _STATES),
        key=lambda one: (_ORDER.index(one.state), one.id),
    )
    if not active:
        return [line("none-loaded", "No model is loaded")]
    lines = [_model(one, later_s) for one in active[:MODELS_LISTED]]
    if (more := len(active) - MODELS_LISTED) > 0:
        lines.append(line("more-models", f"{count(more, 'more model')}…", OPEN_LOCAL))
    return lines


def _model(model: LocalModelView, later_s: float) -> Item:
    text = f"{_STATES[model.state]} {short_name(model.id)}"
    if model.state == "failed":
        why = sanitize(model.reason.text) if model.reason else "could not be loaded"
        first = line("load", "Try again", Action("load", model.id))
        return Item(key=f"model {model.id}", text=cut(f"{text}: {why}", LINE_CELLS), items=(first,))
    parts = [text]
    if model.state == "loading":
        parts.append(f"loading{_percent(model.progress)}")
    elif model.state == "waiting":
        parts.append("waiting for memory")
    elif model.state == "draining":
        parts.append("unloading")
    else:
        parts += [size_text(model.need_bytes)] if model.need_bytes else []
        if model.in_flight:
            parts.append("in use")
        elif model.idle_s is not None:
            parts.append(idle_text(model.idle_s + later_s))
    is_ready = model.state == "ready"
    keep = Action("release" if model.keep else "keep", model.id)
    items = (
        line("unload", "Unload" if is_ready else "Stop", Action("unload", model.id)),
        Item(key="keep", text="Keep loaded", action=keep, checked=model.keep),
    )
    is_going = model.state == "draining"
    return Item(
        key=f"model {model.id}", text=cut(", ".join(parts), LINE_CELLS), items=() if is_going else items
    )


def _loadable(models: list[LocalModelView]) -> list[Item]:
    found = sorted(
        (one for one in models if one.state == "on-disk" and one.fits != "never" and one.runner),
        key=lambda one: one.id.casefold(),
    )
    if not found:
        return []
    lines = [
        line(
            f"load {one.id}",
            cut(f"{short_name(one.id)}, {size_text(one.need_bytes or one.size_bytes)}", LINE_CELLS),
            Action("load", one.id),
        )
        for one in found[:LOADABLE_LISTED]
    ]
    if (more := len(found) - LOADABLE_LISTED) > 0:
        lines.append(line("more", f"{count(more, 'more model')}…", OPEN_LOCAL))
    return [Item(key="load", text="Load", items=tuple(lines))]


def _free_memory(models: list[LocalModelView]) -> Item:
    idle = [one for one in models if _is_idle(one)]
    if not idle:
        return line("free", "Free memory")
    freed = sum(one.need_bytes for one in idle)
    size = f" ({size_text(freed)})" if freed else ""
    return line("free", f"Free memory{size}", Action("free-memory"))


def _download(download: DownloadView) -> Item:
    text = f"↓ {short_name(download.name)}"
    if download.state == "failed":
        why = sanitize(download.reason.text) if download.reason else "failed"
        text = f"✖ {short_name(download.name)}: {why}"
    elif download.state == "running" and download.total_bytes:
        text += f", {100 * download.done_bytes // download.total_bytes} %"
    elif download.state != "running":
        text += f", {download.state}"
    goes_on = download.state in {"queued", "running"}
    change = Action("pause-download" if goes_on else "resume-download", download.id)
    has_failed = download.state == "failed"
    verb = "Pause" if goes_on else "Try again" if has_failed else "Resume"
    lines = [] if download.state == "checking" else [line("change", verb, change)]
    lines.append(
        line("cancel", "Dismiss" if has_failed else "Cancel", Action("cancel-download", download.id))
    )
    return Item(key=f"download {download.id}", text=cut(text, LINE_CELLS), items=tuple(lines))


def _percent(progress: float | None) -> str:
    if progress is None:
        return ""
    return f" {int(progress * 100) // _PROGRESS_STEP * _PROGRESS_STEP} %"
