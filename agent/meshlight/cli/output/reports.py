"""Lists on paper: models, routes, the runs of a trial, one backend in full.

What engines tell of their models, in few words: `8k context · Q4_K_M · loaded · vision`.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from rich.console import Group, RenderableType
from rich.text import Text

from meshlight.cli.output.console import BAD, GOOD, STATES, WARN, StatusGlyph, TerminalStyle, glyph_of
from meshlight.cli.output.status import note, requests_text
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
from meshlight.domain.backend import RING_ORDER, ModelDetail
from meshlight.domain.routing import Tier
from meshlight.domain.text import DASH, count, cut, duration, milliseconds, sanitize, wrap

MODELS_SHOWN = 40
"""A backend's models listed one by one, before the rest becomes a number."""

LABEL_MAX = 24
_ALWAYS = 2
"""The first columns of the list of models, which are there even when they are empty."""

_TIERS: dict[Tier, str] = {
    "ready": "ready",
    "untried": "untried",
    "last-resort": "last resort",
    "excluded": "excluded",
}


def model_lines(view: SnapshotView, paper: TerminalStyle) -> list[Text]:
    """Show each model with its details, the backends that serve it, and the nearest ring that does.

    A column in which nobody tells anything is left out.
    """
    backends = {b.id: b for b in view.backends}
    columns = (
        Column(title="MODEL", least=20),
        Column(title="RING", drop=1),
        Column(title="CONTEXT", right=True, drop=2),
        Column(title="QUANT", drop=4, fit=cut, least=6),
        Column(title="STATE", drop=3),
        Column(title="BACKENDS", least=16, fit=cut),
    )
    rows: list[list[Cell]] = []
    for model in sorted(view.models, key=lambda m: m.id):
        told = details_of(model, backends).values()
        ring, servers = _servers(model, backends, paper)
        rows.append(
            [model.id, ring, contexts_text(told), quantizations_text(told), states_text(told), servers]
        )
    kept = [place for place in range(len(columns)) if place < _ALWAYS or any(row[place] for row in rows)]
    return lay_out([columns[i] for i in kept], [[row[i] for i in kept] for row in rows], paper.width)


def backend_listing(backends: Sequence[BackendView], paper: TerminalStyle) -> list[Text]:
    """Show the backends as things to name in a command: id, name, address, where they come from."""
    columns = (
        Column(title="STATE"),
        Column(title="ID", least=24),
        Column(title="NAME", least=10),
        Column(title="KIND", least=12, drop=1, fit=cut),
        Column(title="URL", least=26),
        Column(title="FROM", drop=2),
    )
    rows: list[list[Cell]] = [
        [paper.state(glyph_of(b)), b.id, b.name, b.kind, b.url, b.source] for b in backends
    ]
    return lay_out(columns, rows, paper.width)


def route_report(reply: RouteExplanation, paper: TerminalStyle) -> RenderableType:
    """Show who would answer now, and each backend's place in the order with the reason for it."""
    name = sanitize(reply.model)
    stands = "" if reply.asked == reply.model else f" (for which {sanitize(reply.asked)} stands)"
    answering = next((r for r in reply.routes if r.backend == reply.answers), None)
    if answering is None:
        head = note(BAD, f"No backend would answer a request for {name}{stands} now.", "", paper)
    else:
        said = f"{sanitize(answering.name)} would answer a request for {name}{stands} now."
        head = note(GOOD, said, "", paper)
    columns = (
        Column(title="", right=True),
        Column(title="BACKEND", least=16),
        Column(title="RING"),
        Column(title="TIER"),
        Column(title="STATE", drop=2),
        Column(title="LATENCY", right=True, drop=1),
        Column(title="IN FLIGHT", right=True, drop=3),
    )
    rows: list[list[Cell]] = [
        [
            str(place),
            line.name,
            line.ring,
            _TIERS[line.tier],
            paper.state(STATES[line.state]),
            milliseconds(line.latency_ms),
            str(line.in_flight),
        ]
        for place, line in enumerate(reply.routes, start=1)
    ]
    titles, *lines = lay_out(columns, rows, paper.width)
    parts: list[RenderableType] = [*head, "", titles]
    indent = " " * (len(str(len(rows))) + 2)
    for shown, line in zip(lines, reply.routes, strict=True):
        parts.append(shown)
        parts += [
            Text(indent + why, "bright_black")
            for why in wrap(sanitize(line.why), max(paper.width - len(indent), 20))
        ]
    parts += ["", Text(f"Ordered by the policy {reply.policy}.", "bright_black")]
    return Group(*parts)


def test_report(
    test_model: ModelTestReport, names: Mapping[str, str], paper: TerminalStyle
) -> RenderableType:
    """Show how each run of a trial went; `names` gives the backends' names by id."""
    columns = (
        Column(title="", right=True),
        Column(title="ANSWERED BY", least=12),
        Column(title="FIRST TOKEN", right=True),
        Column(title="TOKENS", right=True),
        Column(title="TOKENS/S", right=True),
        Column(title="TOTAL", right=True, drop=1),
    )
    rows: list[list[Cell]] = []
    for place, run in enumerate(test_model.runs, start=1):
        rows.append(
            [
                str(place),
                names.get(run.backend or "", run.backend or DASH),
                milliseconds(run.first_token_ms),
                str(run.tokens),
                DASH if run.tokens_per_s is None else f"{run.tokens_per_s:.1f}",
                milliseconds(run.total_ms),
            ]
        )
    went_well = sum(run.ok for run in test_model.runs)
    sign = GOOD if went_well == len(test_model.runs) else WARN if went_well else BAD
    head = f"{sanitize(test_model.model)}: {went_well} of {count(len(test_model.runs), 'request')} answered."
    said = [
        line for place, run in enumerate(test_model.runs, start=1) for line in _run_lines(place, run, paper)
    ]
    return Group(*note(sign, head, "", paper), "", *lay_out(columns, rows, paper.width), "", *said)


def backend_report(backend: BackendView, paper: TerminalStyle) -> RenderableType:
    """Show one backend in full."""
    health, work = backend.health, backend.requests
    lines: list[tuple[str, Text]] = [
        ("state", paper.state(glyph_of(backend)).append(f" for {duration(health.since_s)}")),
        ("", Text(sanitize(health.text))),
        ("fix", Text(sanitize(health.fix) if health.state != "healthy" else "")),
        ("id", Text(sanitize(backend.id))),
        ("kind", Text(backend.kind)),
        ("ring", Text(backend.ring)),
        ("url", Text(sanitize(backend.url))),
        ("from", Text("the configuration" if backend.source == "config" else "found on this machine")),
        ("latency", Text(milliseconds(backend.latency_ms))),
        ("requests", Text(requests_text(work))),
        ("first byte", Text(milliseconds(work.first_byte_ms))),
        ("tokens", Text(f"{work.tokens_in:,} in, {work.tokens_out:,} out")),
        *(
            (cut(sanitize(label).lower(), LABEL_MAX), Text(sanitize(said)))
            for label, said in backend.about.items()
        ),
        ("models", Text(str(len(backend.models)))),
    ]
    widest = max(len(title) for title, _ in lines)
    parts = [Text(sanitize(backend.name), "bold")]
    for title, said in lines:
        if said.plain:
            parts.append(Text(title.ljust(widest + 2), "bright_black").append_text(said))
    blank = " " * (widest + 2)
    for model in backend.models[:MODELS_SHOWN]:
        detail = backend.details.get(model)
        told = Text(f"  {detail_text(detail)}", "bright_black") if detail is not None else Text()
        parts.append(Text(blank + sanitize(model)).append_text(told))
    if len(backend.models) > MODELS_SHOWN:
        parts.append(Text(f"{blank}and {len(backend.models) - MODELS_SHOWN} more: meshlight models"))
    for warning in backend.warnings:
        parts += note(WARN, warning, "", paper)
    return Group(*parts)


def _servers(model: ModelView, backends: Mapping[str, BackendView], paper: TerminalStyle) -> tuple[str, str]:
    """Return the nearest ring that serves a model, and the backends that do, each with its state's shape."""
    serving = [backends[id_] for id_ in model.backends if id_ in backends]
    ring = min((b.ring for b in serving), key=lambda ring: RING_ORDER[ring], default=DASH)
    return ring, ", ".join(f"{paper.shape(glyph_of(b))} {sanitize(b.name)}" for b in serving)


def _run_lines(place: int, run: ModelTestRun, paper: TerminalStyle) -> list[Text]:
    sign: StatusGlyph = GOOD if run.ok else BAD
    if not run.ok:
        return note(sign, f"{place}. {run.error or 'No answer.'}", "", paper)
    head = f"{place}. "
    first_line = next((line for line in run.text.splitlines() if line.strip()), "(no text)")
    return note(sign, head + cut(sanitize(first_line), paper.width - len(head) - 2), "", paper)


_ORDINARY = frozenset({"chat", "completion"})
"""What nearly every model can do, and nobody needs to be told."""
_THOUSAND = 1000
_KIBI = 1024


class ModelLine(Struct, frozen=True, kw_only=True):
    """One model, with what each of its backends tells of it, by the backend's id."""

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
    """Return what the backends of a model tell of it, by their ids."""
    serving = (backends[id_] for id_ in model.backends if id_ in backends)
    return {b.id: b.details[model.id] for b in serving if model.id in b.details}


def context_text(tokens: int | None) -> str:
    """Return the length of a context as people say it: `8k`, `128k`, `1M`; empty when it is not known."""
    if tokens is None:
        return ""
    for unit in (_THOUSAND, _KIBI):
        if tokens % unit**2 == 0 and tokens >= unit**2:
            return f"{tokens // unit**2}M"
    if tokens < _THOUSAND:
        return str(tokens)
    return f"{round(tokens / (_THOUSAND if tokens % _THOUSAND == 0 else _KIBI))}k"


def loaded_text(loaded: bool | None) -> str:
    """Return whether a model is in memory; empty when it is not known."""
    return "" if loaded is None else "loaded" if loaded else "not loaded"


def detail_text(detail: ModelDetail) -> str:
    """Return all of a model's details on one line; empty when there are none."""
    context = context_text(detail.context)
    said = [
        f"{context} context" if context else "",
        sanitize(detail.parameters),
        sanitize(detail.quantization),
        loaded_text(detail.loaded),
        *(word for word in detail.capabilities if word not in _ORDINARY),
    ]
    return " · ".join(word for word in said if word)


def contexts_text(details: Iterable[ModelDetail]) -> str:
    """Return the length of context that several backends give one model: `8k`, or from least to most `4k-8k`."""
    found = sorted({detail.context for detail in details if detail.context is not None})
    return "-".join(dict.fromkeys(context_text(one) for one in (*found[:1], *found[-1:])))


def quantizations_text(details: Iterable[ModelDetail]) -> str:
    """Return each quantisation once."""
    return ", ".join(dict.fromkeys(said for detail in details if (said := sanitize(detail.quantization))))


def states_text(details: Iterable[ModelDetail]) -> str:
    """Return whether a model is in memory at its backends."""
    found = {detail.loaded for detail in details} - {None}
    return "on some" if len(found) > 1 else loaded_text(next(iter(found), None))
