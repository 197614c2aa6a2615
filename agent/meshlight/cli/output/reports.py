"""Lists on paper: models, routes, the runs of a trial, one backend in full."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from meshlight.desktop.details import (
    contexts_said,
    detail_said,
    details_of,
    quantizations_said,
    states_said,
)
from meshlight.desktop.paper import BAD, GOOD, STATES, WARN, Paper, Sign, sign_of
from meshlight.desktop.replies import RouteReply, TestRun, Trial
from meshlight.desktop.screens import note, requests_said
from meshlight.desktop.table import Cell, Column, lay_out
from meshlight.desktop.text import DASH, clean, count, cut, duration, milliseconds, wrap
from meshlight.domain.backend import RING_ORDER
from meshlight.domain.routing import Tier
from meshlight.domain.view import BackendView, ModelView, SnapshotView

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


def model_lines(view: SnapshotView, paper: Paper) -> list[Text]:
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
            [model.id, ring, contexts_said(told), quantizations_said(told), states_said(told), servers]
        )
    kept = [place for place in range(len(columns)) if place < _ALWAYS or any(row[place] for row in rows)]
    return lay_out([columns[i] for i in kept], [[row[i] for i in kept] for row in rows], paper.width)


def backend_listing(backends: Sequence[BackendView], paper: Paper) -> list[Text]:
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
        [paper.state(sign_of(b)), b.id, b.name, b.kind, b.url, b.source] for b in backends
    ]
    return lay_out(columns, rows, paper.width)


def route_screen(reply: RouteReply, paper: Paper) -> RenderableType:
    """Show who would answer now, and each backend's place in the order with the reason for it."""
    name = clean(reply.model)
    stands = "" if reply.asked == reply.model else f" (for which {clean(reply.asked)} stands)"
    answering = next((r for r in reply.routes if r.backend == reply.answers), None)
    if answering is None:
        head = note(BAD, f"No backend would answer a request for {name}{stands} now.", "", paper)
    else:
        said = f"{clean(answering.name)} would answer a request for {name}{stands} now."
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
            line.ring or DASH,
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
            for why in wrap(clean(line.why), max(paper.width - len(indent), 20))
        ]
    parts += ["", Text(f"Ordered by the policy {reply.policy}.", "bright_black")]
    return Group(*parts)


def trial_screen(trial: Trial, names: Mapping[str, str], paper: Paper) -> RenderableType:
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
    for place, run in enumerate(trial.runs, start=1):
        rows.append(
            [
                str(place),
                names.get(run.backend or "", run.backend or DASH),
                milliseconds(run.first_token_ms),
                DASH if run.tokens is None else str(run.tokens),
                DASH if run.tokens_per_s is None else f"{run.tokens_per_s:.1f}",
                milliseconds(run.total_ms),
            ]
        )
    went_well = sum(run.ok for run in trial.runs)
    sign = GOOD if went_well == len(trial.runs) else WARN if went_well else BAD
    head = f"{clean(trial.model)}: {went_well} of {count(len(trial.runs), 'request')} answered."
    said = [line for place, run in enumerate(trial.runs, start=1) for line in _run_lines(place, run, paper)]
    return Group(*note(sign, head, "", paper), "", *lay_out(columns, rows, paper.width), "", *said)


def backend_screen(backend: BackendView, paper: Paper) -> RenderableType:
    """Show one backend in full."""
    health, work = backend.health, backend.requests
    lines: list[tuple[str, Text]] = [
        ("state", paper.state(sign_of(backend)).append(f" for {duration(health.since_s)}")),
        ("", Text(clean(health.text))),
        ("fix", Text(clean(health.fix) if health.state != "healthy" else "")),
        ("id", Text(clean(backend.id))),
        ("kind", Text(backend.kind)),
        ("ring", Text(backend.ring)),
        ("url", Text(clean(backend.url))),
        ("from", Text("the configuration" if backend.source == "config" else "found on this machine")),
        ("latency", Text(milliseconds(backend.latency_ms))),
        ("requests", Text(requests_said(work))),
        ("first byte", Text(milliseconds(work.first_byte_ms))),
        ("tokens", Text(f"{work.tokens_in:,} in, {work.tokens_out:,} out")),
        *((cut(clean(label).lower(), LABEL_MAX), Text(clean(said))) for label, said in backend.about.items()),
        ("models", Text(str(len(backend.models)))),
    ]
    widest = max(len(title) for title, _ in lines)
    parts = [Text(clean(backend.name), "bold")]
    for title, said in lines:
        if said.plain:
            parts.append(Text(title.ljust(widest + 2), "bright_black").append_text(said))
    blank = " " * (widest + 2)
    for model in backend.models[:MODELS_SHOWN]:
        detail = backend.details.get(model)
        told = Text(f"  {detail_said(detail)}", "bright_black") if detail is not None else Text()
        parts.append(Text(blank + clean(model)).append_text(told))
    if len(backend.models) > MODELS_SHOWN:
        parts.append(Text(f"{blank}and {len(backend.models) - MODELS_SHOWN} more: meshlight models"))
    for warning in backend.warnings:
        parts += note(WARN, warning, "", paper)
    return Group(*parts)


def _servers(model: ModelView, backends: Mapping[str, BackendView], paper: Paper) -> tuple[str, str]:
    """Return the nearest ring that serves a model, and the backends that do, each with its state's shape."""
    serving = [backends[id_] for id_ in model.backends if id_ in backends]
    ring = min((b.ring for b in serving), key=lambda ring: RING_ORDER[ring], default=DASH)
    return ring, ", ".join(f"{paper.shape(sign_of(b))} {clean(b.name)}" for b in serving)


def _run_lines(place: int, run: TestRun, paper: Paper) -> list[Text]:
    sign: Sign = GOOD if run.ok else BAD
    if not run.ok:
        return note(sign, f"{place}. {run.error or 'No answer.'}", "", paper)
    head = f"{place}. "
    first_line = next((line for line in run.text.splitlines() if line.strip()), "(no text)")
    return note(sign, head + cut(clean(first_line), paper.width - len(head) - 2), "", paper)
