"""The reports on models, backends, routes and test requests.

The details of a model become a short text such as `8k context · Q4_K_M · loaded · vision`.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace
from rich.console import Group, RenderableType
from rich.text import Text

from meshlight.cli.output.console import BAD, GOOD, STATES, WARN, StatusGlyph, TerminalStyle, glyph_of
from meshlight.cli.output.status import message_lines, requests_text
from meshlight.cli.output.table import Cell, Column, lay_out
from meshlight.domain.api_types import (
    BackendView,
    ModelTestReport,
    ModelTestRun,
    ModelView,
    RouteExplanation,
    SnapshotView,
    Workload,
)
from meshlight.domain.backend import RING_ORDER, ModelDetail, Source
from meshlight.domain.choice_words import seconds_text, tokens_text
from meshlight.domain.route_score import Tier
from meshlight.domain.text import DASH, count, cut, duration, milliseconds, sanitize, wrap

MODELS_SHOWN = 40
"""The most models of a backend that are listed; the rest is counted."""

LABEL_MAX = 24
_FIXED_COLUMNS = 2
"""The first columns of the model list, which are shown even if they are empty."""

_SOURCES: dict[Source, str] = {
    "config": "the configuration",
    "found": "found on this machine",
    "demo": "the demo: its answers are scripted",
    "own": "Meshlight itself",
}
_TIERS: dict[Tier, str] = {
    "ready": "ready",
    "untried": "untried",
    "last-resort": "last resort",
    "excluded": "excluded",
}


def model_lines(view: SnapshotView, style: TerminalStyle) -> list[Text]:
    """Return one line for each model: its details, the backends that serve it, and the nearest ring of these.

    Columns without any value are left out.
    """
    backends = {b.id: b for b in view.backends}
    columns = (
        Column(title="MODEL", min_width=20),
        Column(title="RING", drop=1),
        Column(title="CONTEXT", right=True, drop=2),
        Column(title="QUANT", drop=4, fit=cut, min_width=6),
        Column(title="STATE", drop=3),
        Column(title="BACKENDS", min_width=16, fit=cut),
    )
    rows: list[list[Cell]] = []
    for model in sorted(view.models, key=lambda m: m.id):
        details = details_of(model, backends).values()
        ring, servers = serving_text(model, backends, style)
        rows.append(
            [
                model.id,
                ring,
                contexts_text(details),
                quantizations_text(details),
                states_text(details),
                servers,
            ]
        )
    kept = [
        number
        for number in range(len(columns))
        if number < _FIXED_COLUMNS or any(row[number] for row in rows)
    ]
    return lay_out([columns[i] for i in kept], [[row[i] for i in kept] for row in rows], style.width)


def backend_listing(backends: Sequence[BackendView], style: TerminalStyle) -> list[Text]:
    """Return one line for each backend, with what commands need: id, name, address and source."""
    columns = (
        Column(title="STATE"),
        Column(title="ID", min_width=24),
        Column(title="NAME", min_width=10),
        Column(title="KIND", min_width=12, drop=1, fit=cut),
        Column(title="URL", min_width=26),
        Column(title="FROM", drop=2),
    )
    rows: list[list[Cell]] = [
        [style.state(glyph_of(b)), b.id, b.name, b.kind, url_text(b), b.source] for b in backends
    ]
    return lay_out(columns, rows, style.width)


def url_text(backend: BackendView) -> str:
    """Return a backend's address; a dash for this machine's own models, which have none."""
    return DASH if backend.kind == "local" else sanitize(backend.url)


def route_report(reply: RouteExplanation, style: TerminalStyle) -> RenderableType:
    """Return which backend would answer now, and the order of all backends with the reasons."""
    name = sanitize(reply.model)
    alias = "" if reply.asked == reply.model else f" (requested as {sanitize(reply.asked)})"
    answering = next((r for r in reply.routes if r.backend == reply.answers), None)
    if answering is None:
        text = f"No backend would answer a request for {name}{alias} now."
        head = message_lines(BAD, text, reply.fix, style)
    else:
        instead = f" with {sanitize(reply.instead)}, as {sanitize(reply.fallback)}" if reply.instead else ""
        text = f"{sanitize(answering.name)} would answer a request for {name}{alias} now{instead}."
        head = message_lines(GOOD, text, "", style)
    columns = (
        Column(title="", right=True),
        Column(title="BACKEND", min_width=16),
        Column(title="RING"),
        Column(title="TIER"),
        Column(title="STATE", drop=2),
        Column(title="LATENCY", right=True, drop=1),
        Column(title="IN FLIGHT", right=True, drop=3),
        Column(title="MODEL", drop=4),
        Column(title="CONTEXT", right=True, drop=5),
        Column(title="EXPECTED", right=True, drop=6),
    )
    rows: list[list[Cell]] = [
        [
            str(number),
            f"{line.name} ({line.model})" if reply.instead else line.name,
            line.ring,
            _TIERS[line.tier],
            style.state(STATES[line.state]),
            milliseconds(line.latency_ms),
            str(line.in_flight) if line.slots is None else f"{line.in_flight} of {line.slots}",
            "" if line.loaded is None else "warm" if line.loaded else "cold",
            "" if line.context is None else tokens_text(line.context),
            "" if line.expected_s is None else seconds_text(line.expected_s),
        ]
        for number, line in enumerate(reply.routes, start=1)
    ]
    titles, *lines = lay_out(columns, rows, style.width)
    parts: list[RenderableType] = [*head, "", titles]
    indent = " " * (len(str(len(rows))) + 2)
    for shown, line in zip(lines, reply.routes, strict=True):
        parts.append(shown)
        parts += [
            Text(indent + why, "bright_black")
            for why in wrap(sanitize(line.why), max(style.width - len(indent), 20))
        ]
    parts += ["", Text(f"Ordered by the policy {reply.policy}.", "bright_black")]
    return Group(*parts)


def test_report(
    test_model: ModelTestReport, names: Mapping[str, str], style: TerminalStyle
) -> RenderableType:
    """Return how each test request went; `names` maps the ids of backends to their names."""
    columns = (
        Column(title="", right=True),
        Column(title="ANSWERED BY", min_width=12),
        Column(title="FIRST TOKEN", right=True),
        Column(title="TOKENS", right=True),
        Column(title="TOKENS/S", right=True),
        Column(title="TOTAL", right=True, drop=1),
    )
    rows: list[list[Cell]] = []
    for number, run in enumerate(test_model.runs, start=1):
        rows.append(
            [
                str(number),
                names.get(run.backend or "", run.backend or DASH),
                milliseconds(run.first_token_ms),
                str(run.tokens),
                DASH if run.tokens_per_s is None else f"{run.tokens_per_s:.1f}",
                milliseconds(run.total_ms),
            ]
        )
    answered = sum(run.ok for run in test_model.runs)
    glyph = GOOD if answered == len(test_model.runs) else WARN if answered else BAD
    head = f"{sanitize(test_model.model)}: {answered} of {count(len(test_model.runs), 'request')} answered."
    text: list[Text] = []
    for number, run in enumerate(test_model.runs, start=1):
        is_the_same = run.error and number > 1 and run.error == test_model.runs[number - 2].error
        text += _run_lines(number, replace(run, error="The same.") if is_the_same else run, style)
    return Group(*message_lines(glyph, head, "", style), "", *lay_out(columns, rows, style.width), "", *text)


def backend_report(backend: BackendView, style: TerminalStyle) -> RenderableType:
    """Return all details of one backend."""
    health, work = backend.health, backend.requests
    lines: list[tuple[str, Text]] = [
        ("state", style.state(glyph_of(backend)).append(f" for {duration(health.since_s)}")),
        ("", Text(sanitize(health.text))),
        ("fix", Text(sanitize(health.fix) if health.state != "healthy" else "")),
        ("id", Text(sanitize(backend.id))),
        ("kind", Text(backend.kind)),
        ("ring", Text(backend.ring)),
        ("url", Text(url_text(backend))),
        ("from", Text(_SOURCES[backend.source])),
        ("latency", Text(milliseconds(backend.latency_ms))),
        ("requests", Text(requests_text(work))),
        ("first byte", Text(milliseconds(work.first_byte_ms))),
        ("tokens", Text(f"{work.tokens_in:,} in, {work.tokens_out:,} out")),
        *(
            (cut(sanitize(label).lower(), LABEL_MAX), Text(sanitize(text)))
            for label, text in backend.about.items()
        ),
        ("models", Text(str(len(backend.models)))),
    ]
    widest = max(len(title) for title, _ in lines)
    parts = [Text(sanitize(backend.name), "bold")]
    for title, text in lines:
        if text.plain:
            parts.append(Text(title.ljust(widest + 2), "bright_black").append_text(text))
    blank = " " * (widest + 2)
    for model in backend.models[:MODELS_SHOWN]:
        detail = backend.details.get(model)
        details = Text(f"  {detail_text(detail)}", "bright_black") if detail is not None else Text()
        parts.append(Text(blank + sanitize(model)).append_text(details))
    if len(backend.models) > MODELS_SHOWN:
        parts.append(Text(f"{blank}and {len(backend.models) - MODELS_SHOWN} more: meshlight models"))
    for warning in backend.warnings:
        parts += message_lines(WARN, warning, "", style)
    return Group(*parts)


def serving_text(
    model: ModelView, backends: Mapping[str, BackendView], style: TerminalStyle
) -> tuple[str, str]:
    """Return the nearest ring that serves a model, and its backends, each with the shape of its state."""
    serving = [backends[id_] for id_ in model.backends if id_ in backends]
    ring = min((b.ring for b in serving), key=lambda ring: RING_ORDER[ring], default=DASH)
    return ring, ", ".join(f"{style.shape(glyph_of(b))} {sanitize(b.name)}" for b in serving)


def _run_lines(number: int, run: ModelTestRun, style: TerminalStyle) -> list[Text]:
    glyph: StatusGlyph = GOOD if run.ok else BAD
    if not run.ok:
        return message_lines(glyph, f"{number}. {run.error or 'No answer.'}", "", style)
    head = f"{number}. "
    first_line = next((line for line in run.text.splitlines() if line.strip()), "(no text)")
    return message_lines(glyph, head + cut(sanitize(first_line), style.width - len(head) - 2), "", style)


_ORDINARY = frozenset({"chat", "completion"})
"""Nearly every model has these capabilities, so they are not shown."""
_THOUSAND = 1000
_KIBI = 1024


class ModelLine(Struct, frozen=True, kw_only=True):
    """One model, with its details from each backend by the backend's id."""

    id: str
    backends: tuple[str, ...]
    requests: Workload | None
    details: Mapping[str, ModelDetail]


def model_listing(view: SnapshotView) -> list[ModelLine]:
    """Return the models with their details, for `meshlight models --json`."""
    backends = {b.id: b for b in view.backends}
    return [
        ModelLine(id=m.id, backends=m.backends, requests=m.requests, details=details_of(m, backends))
        for m in view.models
    ]


def details_of(model: ModelView, backends: Mapping[str, BackendView]) -> dict[str, ModelDetail]:
    """Return the details of a model from each of its backends, by the backend's id."""
    serving = (backends[id_] for id_ in model.backends if id_ in backends)
    return {b.id: b.details[model.id] for b in serving if model.id in b.details}


def context_text(tokens: int | None) -> str:
    """Return a context length (in tokens) as people write it: `8k`, `128k`, `1M`; empty if unknown."""
    if tokens is None:
        return ""
    for unit in (_THOUSAND, _KIBI):
        if tokens % unit**2 == 0 and tokens >= unit**2:
            return f"{tokens // unit**2}M"
    if tokens < _THOUSAND:
        return str(tokens)
    return f"{round(tokens / (_THOUSAND if tokens % _THOUSAND == 0 else _KIBI))}k"


def loaded_text(loaded: bool | None) -> str:
    """Return whether a model is in memory; empty if unknown."""
    return "" if loaded is None else "loaded" if loaded else "not loaded"


def detail_text(detail: ModelDetail) -> str:
    """Return all details of a model in one line; empty if there are none."""
    context = context_text(detail.context)
    text = [
        f"{context} context" if context else "",
        sanitize(detail.parameters),
        sanitize(detail.quantization),
        loaded_text(detail.loaded),
        *(word for word in detail.capabilities if word not in _ORDINARY),
    ]
    return " · ".join(word for word in text if word)


def contexts_text(details: Iterable[ModelDetail]) -> str:
    """Return the context length of one model on several backends: `8k`, or the range `4k-8k`."""
    found = sorted({detail.context for detail in details if detail.context is not None})
    return "-".join(dict.fromkeys(context_text(one) for one in (*found[:1], *found[-1:])))


def quantizations_text(details: Iterable[ModelDetail]) -> str:
    """Return each quantisation once, separated by commas."""
    return ", ".join(dict.fromkeys(text for detail in details if (text := sanitize(detail.quantization))))


def states_text(details: Iterable[ModelDetail]) -> str:
    """Return whether a model is in memory on its backends; `on some` if they differ."""
    found = {detail.loaded for detail in details} - {None}
    return "on some" if len(found) > 1 else loaded_text(next(iter(found), None))
