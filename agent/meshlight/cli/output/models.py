"""The reports on this machine's own models: the list, one model, a choice of downloads, and what is on its way."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from meshlight.cli.output.console import BAD, WARN, StatusGlyph, TerminalStyle
from meshlight.cli.output.status import message_lines
from meshlight.cli.output.table import Cell, Column, lay_out
from meshlight.domain.local_models import EngineState, StoreName
from meshlight.domain.local_views import (
    DownloadState,
    DownloadView,
    Fit,
    LocalModelView,
    LocalView,
    RepositoryFile,
    RunnerView,
    StarterView,
)
from meshlight.domain.text import DASH, count, duration, sanitize, size_text, wrap

REJECTED_SHOWN = 10
STARTERS_SHOWN = 3

ENGINE_STATES: Final[Mapping[EngineState, StatusGlyph]] = {
    "on-disk": StatusGlyph("○", "o", "bright_black", "on disk"),
    "waiting": StatusGlyph("◐", "~", "yellow", "waiting"),
    "loading": StatusGlyph("◐", "~", "yellow", "loading"),
    "ready": StatusGlyph("●", "*", "green", "loaded"),
    "draining": StatusGlyph("◐", "~", "yellow", "unloading"),
    "failed": StatusGlyph("✖", "x", "red", "failed"),
    "missing": StatusGlyph("-", "-", "bright_black", "missing"),
}
LOADED: Final[frozenset[EngineState]] = frozenset({"ready", "draining"})
"""The states in which a model takes memory and can answer."""
DOWNLOAD_STATES: Final[Mapping[DownloadState, StatusGlyph]] = {
    "queued": StatusGlyph("○", "o", "bright_black", "queued"),
    "running": StatusGlyph("↓", "v", "cyan", "running"),
    "paused": StatusGlyph("-", "-", "yellow", "paused"),
    "checking": StatusGlyph("◐", "~", "cyan", "checking"),
    "done": StatusGlyph("✓", "+", "green", "done"),
    "failed": StatusGlyph("✖", "x", "red", "failed"),
}
_ORDER: Final[tuple[EngineState, ...]] = (
    "ready",
    "draining",
    "loading",
    "waiting",
    "failed",
    "on-disk",
    "missing",
)
"""The states in the order of the list."""
_FITS: Final[Mapping[Fit, str]] = {
    "now": "yes",
    "after-unloading": "yes, when idle models are unloaded",
    "never": "no: it needs more memory than this machine has for models",
}
_PURPOSES: Final = {"chat": "chat", "embedding": "embeddings", "rerank": "reranking"}
_FOR: Final = Column(title="FOR", drop=2)
_RUNNER: Final = Column(title="RUNNER", min_width=9, drop=4)
_COLUMNS: Final = (
    Column(title="STATE"),
    Column(title="MODEL", min_width=36),
    Column(title="SIZE", right=True, drop=3),
    Column(title="NEEDS", right=True),
    _FOR,
    _RUNNER,
    Column(title="USE", drop=1),
)
_DOWNLOAD_COLUMNS: Final = (
    Column(title="STATE"),
    Column(title="NAME", min_width=20),
    Column(title="DONE", right=True),
    Column(title="RATE", right=True, drop=1),
    Column(title="LEFT", right=True, drop=2),
)
_CHOICE_COLUMNS: Final = (
    Column(title="", right=True),
    Column(title="QUANT", min_width=8),
    Column(title="SIZE", right=True),
    Column(title="MEMORY"),
    Column(title="", drop=1),
)


def local_report(view: LocalView, style: TerminalStyle) -> RenderableType:
    """Return the list of this machine's own models, and what to do next."""
    if not view.enabled:
        text = "This machine's own models are switched off."
        fix = "Write `enabled = true` below `[local]` in the configuration file."
        return Group(*message_lines(WARN, text, fix, style))
    parts: list[RenderableType] = [*_dim(summary(view), style)]
    models = sorted(view.models, key=lambda model: (_ORDER.index(model.state), model.id.casefold()))
    if models:
        parts += ["", *_model_lines(models, style)]
    downloads = [download for download in view.downloads if download.state != "done"]
    if downloads:
        parts += ["", Text("DOWNLOADS", "bold"), *download_lines(downloads, style)]
    messages = [line for model in models for line in problem_lines(model, style)]
    messages += [line for download in downloads for line in download_problem_lines(download, style)]
    if not view.can_run:
        messages += runner_lines(view, style)
    for store in view.stores:
        if store.note:
            messages += message_lines(WARN, f"{store.label}: {store.note}", "", style)
    if messages:
        parts += ["", *messages]
    if view.rejected:
        parts += ["", *_rejected_lines(view, style)]
    if not models and not downloads:
        parts += ["", *starter_lines(view.starters, style)]
    elif any(model.state == "on-disk" for model in models) and view.can_run:
        text = "A model on disk is loaded when it is asked for, or with: meshlight models load NAME"
        parts += ["", *_dim(text, style)]
    return Group(*parts)


def summary(view: LocalView) -> str:
    """Return how many models there are, and how memory stands."""
    memory = view.memory
    loaded = [model for model in view.models if model.state in LOADED]
    text = "This machine has no models of its own yet."
    if view.models:
        text = f"This machine has {count(len(view.models), 'model')}"
        text += f", {len(loaded)} loaded." if loaded else "."
    if not memory.budget_bytes:
        return text
    free = size_text(max(memory.budget_bytes - memory.models_bytes, 0))
    total = f" of {size_text(memory.total_bytes)} memory" if memory.total_bytes else ""
    if loaded:
        return f"{text} Models use {size_text(memory.models_bytes)}{total}, and can use {free} more."
    return f"{text} Models can use {free}{total}."


def download_lines(downloads: Sequence[DownloadView], style: TerminalStyle) -> list[Text]:
    """Return one line for each download."""
    rows: list[list[Cell]] = []
    for download in downloads:
        is_running = download.state == "running" and download.bytes_per_s
        left_s = seconds_left(download)
        rows.append(
            [
                style.state(DOWNLOAD_STATES[download.state]),
                download.name,
                done_text(download),
                f"{size_text(int(download.bytes_per_s or 0))}/s" if is_running else "",
                duration(left_s) if is_running and left_s is not None else "",
            ]
        )
    shown = [
        i for i, column in enumerate(_DOWNLOAD_COLUMNS) if not column.drop or any(row[i] for row in rows)
    ]
    columns, cells = [_DOWNLOAD_COLUMNS[i] for i in shown], [[row[i] for i in shown] for row in rows]
    return lay_out(columns, cells, style.width)


def done_text(download: DownloadView) -> str:
    """Return `1.2 GB of 3.4 GB`; only what is here while the whole size is not known."""
    if not download.total_bytes:
        return size_text(download.done_bytes)
    return f"{size_text(download.done_bytes)} of {size_text(download.total_bytes)}"


def seconds_left(download: DownloadView) -> float | None:
    """Return how long a download goes on at its present rate; None if that is not known."""
    if not download.bytes_per_s or not download.total_bytes:
        return None
    return max(download.total_bytes - download.done_bytes, 0) / download.bytes_per_s


def problem_lines(model: LocalModelView, style: TerminalStyle) -> list[Text]:
    """Return why a model is not as it should be, and the fix; nothing if all is well."""
    if model.reason is not None and model.state in {"failed", "missing", "waiting"}:
        glyph = ENGINE_STATES[model.state]
        return message_lines(glyph, f"{model.id}: {model.reason.text}", model.reason.fix, style)
    return []


def download_problem_lines(download: DownloadView, style: TerminalStyle) -> list[Text]:
    """Return why a download failed, or what it waits for."""
    if download.reason is None:
        return []
    glyph = DOWNLOAD_STATES["failed"] if download.state == "failed" else WARN
    return message_lines(glyph, f"{download.name}: {download.reason.text}", download.reason.fix, style)


def runner_lines(view: LocalView, style: TerminalStyle) -> list[Text]:
    """Return that nothing can run models here, and for each runner why and the fix."""
    if view.models:
        text = "This machine has models but nothing to run them."
    else:
        text = "Nothing is installed here that can run models."
    lines = message_lines(WARN if not view.models else BAD, text, "", style)
    for runner in view.runners:
        if runner.why_not:
            lines += message_lines(WARN, why_unusable(runner), runner.fix, style)
    return lines


def why_unusable(runner: RunnerView) -> str:
    """Return why a runner can't be used, with its name."""
    why = runner.why_not or "It can't be used here."
    return why if runner.label.casefold() in why.casefold() else f"{runner.label}: {why}"


def starter_lines(starters: Sequence[StarterView], style: TerminalStyle) -> list[Text]:
    """Return the models that are offered to those who have none, each with its command."""
    offered = [one for one in starters if not one.is_here][:STARTERS_SHOWN]
    if not offered:
        text = "Get a model from Hugging Face with: meshlight models pull OWNER/REPOSITORY"
        return [Text(line) for line in wrap(text, style.width)]
    lines = [Text("Get a model to start with:")]
    for one in offered:
        about = f"{one.label}, {one.sizes}, {one.licence}. {one.good_for}"
        if one.fits == "never":
            about += " It is too big for this machine."
        lines.append(Text(f"  meshlight models pull {sanitize(one.name)}"))
        lines += [
            Text(f"    {line}", "bright_black") for line in wrap(sanitize(about), max(style.width - 4, 20))
        ]
    lines += _dim("Or any GGUF model of Hugging Face: meshlight models pull OWNER/REPOSITORY", style)
    return lines


def place_text(view: LocalView, store: StoreName) -> str:
    """Return where the models of a store lie, such as `Meshlight's own folder`."""
    labels = [sanitize(one.label) for one in view.stores if one.store == store]
    if store == "own":
        return "Meshlight's own folder"
    if store == "folder":
        return f"your folder {labels[0]}" if len(labels) == 1 else "a folder of yours"
    return f"the folder of {labels[0] if labels else store}"


def model_report(model: LocalModelView, place: str, style: TerminalStyle) -> RenderableType:
    """Return all details of one model, which lies in `place`."""
    is_loaded = model.state in LOADED
    context = f"{model.context:,} tokens" if model.context else ""
    if context and model.context_max > model.context:
        context += f" (made for {model.context_max:,})"
    elif not context and model.context_max:
        context = f"made for {model.context_max:,} tokens"
    lines: list[tuple[str, str]] = [
        ("use", use_text(model)),
        ("unloads", _unloads_text(model)),
        ("waiting", count(model.waiting, "request") if model.waiting else ""),
        ("for", _PURPOSES[model.purpose] + (", sees images" if model.sees_images else "")),
        ("size", size_text(model.size_bytes)),
        ("memory" if is_loaded else "needs", size_text(model.need_bytes) if model.need_bytes else ""),
        ("fits", "" if is_loaded else _FITS[model.fits]),
        ("context", context),
        ("parameters", model.parameters),
        ("quant", model.quantization),
        ("type", model.architecture),
        ("runner", model.runner or "none can run it here"),
        ("load took", "" if model.load_s is None else f"{model.load_s:.1f} s"),
        ("lies in", place),
        ("also", ", ".join(model.names)),
        ("hidden", "yes: it is in no list and gets no request" if model.hidden else ""),
    ]
    shown = [(title, sanitize(text)) for title, text in lines if text]
    widest = max(len("state"), *(len(title) for title, _ in shown))
    parts = [
        Text(sanitize(model.id), "bold"),
        Text("state".ljust(widest + 2), "bright_black").append_text(state_text(model, style)),
    ]
    for title, text in shown:
        first, *rest = wrap(text, max(style.width - widest - 2, 20))
        parts.append(Text(title.ljust(widest + 2), "bright_black").append(Text(first)))
        parts += [Text(" " * (widest + 2) + line) for line in rest]
    return Group(*parts, *problem_lines(model, style))


def choice_lines(
    files: Sequence[RepositoryFile], style: TerminalStyle, *, numbered: bool = True
) -> list[Text]:
    """Return one line for each model of a repository, with numbers to choose by."""
    rows: list[list[Cell]] = [
        [
            str(number) if numbered else "",
            file.quantization or file.name,
            size_text(file.size_bytes),
            fit_text(file),
            "is here" if file.is_here else "sees images" if file.sees_images else "",
        ]
        for number, file in enumerate(files, start=1)
    ]
    return lay_out(_CHOICE_COLUMNS, rows, style.width)


def fit_text(file: RepositoryFile) -> str:
    """Return whether a model of a repository fits here: `fits`, or `too big by 3 GB`."""
    if file.fits == "never":
        return f"too big by {size_text(file.short_bytes)}" if file.short_bytes else "too big"
    return "fits" if file.fits == "now" else "fits when others are unloaded"


def state_text(model: LocalModelView, style: TerminalStyle) -> Text:
    """Return a model's state with its shape, and how far it is loaded."""
    text = style.state(ENGINE_STATES[model.state])
    if model.state == "loading" and model.progress is not None:
        text.append(f" {model.progress:.0%}".replace("%", " %"))
    return text


def use_text(model: LocalModelView) -> str:
    """Return how a model is used now: `2 requests`, `idle 3 min`, `kept`."""
    parts = []
    if model.in_flight:
        parts.append(count(model.in_flight, "request"))
    elif model.state == "ready" and model.idle_s is not None:
        parts.append(f"idle {duration(model.idle_s)}")
    if model.keep:
        parts.append("kept")
    if model.hidden:
        parts.append("hidden")
    return ", ".join(parts)


def _model_lines(models: Sequence[LocalModelView], style: TerminalStyle) -> list[Text]:
    """Return one line for each model; purpose and runner are left out where all have the same."""
    rows = [_model_row(model, style) for model in models]
    usual = {_FOR: _PURPOSES["chat"], _RUNNER: rows[0][_COLUMNS.index(_RUNNER)]}
    shown = [i for i, column in enumerate(_COLUMNS) if any(row[i] != usual.get(column, "") for row in rows)]
    columns, cells = [_COLUMNS[i] for i in shown], [[row[i] for i in shown] for row in rows]
    return lay_out(columns, cells, style.width)


def _model_row(model: LocalModelView, style: TerminalStyle) -> list[Cell]:
    use = use_text(model)
    if model.state == "on-disk" and model.fits == "never":
        use = "too big for this machine"
    return [
        state_text(model, style),
        model.id,
        size_text(model.size_bytes) if model.size_bytes else DASH,
        size_text(model.need_bytes) if model.need_bytes else DASH,
        _PURPOSES[model.purpose],
        model.runner or DASH,
        use,
    ]


def _unloads_text(model: LocalModelView) -> str:
    if model.state != "ready":
        return ""
    if model.keep or model.expires_in_s is None:
        return "" if model.in_flight else "never by itself"
    return f"in {duration(model.expires_in_s)}, if it stays idle"


def _rejected_lines(view: LocalView, style: TerminalStyle) -> list[Text]:
    labels = {store.store: store.label for store in view.stores}
    lines = [Text("NOT USABLE", "bold")]
    for file in view.rejected[:REJECTED_SHOWN]:
        where = labels.get(file.store, file.store)
        lines += message_lines(WARN, f"{file.name} ({where}): {file.why}", "", style)
    if (more := len(view.rejected) - REJECTED_SHOWN) > 0:
        lines += _dim(f"and {count(more, 'more file')}; all of them: meshlight models list --json", style)
    return lines


def _dim(text: str, style: TerminalStyle) -> list[Text]:
    return [Text(line, "bright_black") for line in wrap(text, style.width)]
