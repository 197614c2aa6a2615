"""The screen of `meshlight status`: the light, the router, each backend, and how to mend the ill ones."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.text import Text

from meshlight.cli.output.console import LIGHTS, WARN, StatusGlyph, TerminalStyle, glyph_of
from meshlight.cli.output.table import Cell, Column, lay_out
from meshlight.domain.api_types import BackendView, Requests, SnapshotView
from meshlight.domain.text import DASH, count, cut, duration, milliseconds, sanitize, wrap

MODELS_NAMED = 8

_COLUMNS = (
    Column(title="STATE"),
    Column(title="NAME", least=20),
    Column(title="KIND", least=12, fit=cut),
    Column(title="RING", drop=2),
    Column(title="LATENCY", right=True),
    Column(title="MODELS", least=14, fit=cut),
    Column(title="REQUESTS", drop=1),
)


def status_report(view: SnapshotView, url: str, paper: TerminalStyle) -> RenderableType:
    """Show the whole mesh on one screen."""
    light = LIGHTS[view.light]
    parts: list[RenderableType] = [
        *_hanging_indent(paper.state(light).append(":"), view.light_reason, paper),
        *[Text(line, "bright_black") for line in wrap(_router_text(view, url), paper.width)],
    ]
    for notice in view.notices:
        parts += note(WARN, notice, "", paper)
    parts.append("")
    if not view.backends:
        parts += [
            "Start an engine such as llama-server or Ollama on this machine: it appears by itself.",
            "Add one that runs elsewhere by its address, for example:",
            "  meshlight backends add openai-compatible http://192.168.1.20:8000",
        ]
        return Group(*parts)
    parts += backend_lines(view.backends, paper)
    shown = [b for b in view.backends if b.enabled]
    told = [line for b in shown if b.health.state != "healthy" for line in problem_lines(b, paper)]
    told += [
        line for b in shown for said in b.warnings for line in note(WARN, f"{b.name}: {said}", "", paper)
    ]
    return Group(*parts, "", *told) if told else Group(*parts)


def backend_lines(backends: Iterable[BackendView], paper: TerminalStyle) -> list[Text]:
    """Show the backends, one a line."""
    rows: list[list[Cell]] = [
        [
            paper.state(glyph_of(b)),
            b.name,
            b.kind,
            b.ring,
            milliseconds(b.latency_ms) if b.enabled else DASH,
            models_text(b.models),
            requests_text(b.requests),
        ]
        for b in backends
    ]
    return lay_out(_COLUMNS, rows, paper.width)


def problem_lines(backend: BackendView, paper: TerminalStyle) -> list[Text]:
    """Say why a backend is not healthy, for how long, and what to do."""
    health = backend.health
    said = f"{backend.name} ({health.state} for {duration(health.since_s)}): {health.text}"
    return note(glyph_of(backend), said, health.fix, paper)


def note(sign: StatusGlyph, said: str, fix: str, paper: TerminalStyle) -> list[Text]:
    """Show a sentence behind its sign, and under it what to do; long ones wrap under themselves."""
    lines = _hanging_indent(paper.sign(sign), said, paper)
    if fix:
        lines += _hanging_indent(Text("  ").append("Fix:", "bold"), fix, paper)
    return lines


def requests_text(requests: Requests) -> str:
    """Return the counts that are not nought: `128, 3 failed, 1 now`."""
    said = [f"{requests.total:,}"]
    if requests.failed:
        said.append(f"{requests.failed:,} failed")
    if requests.in_flight:
        said.append(f"{requests.in_flight:,} now")
    return ", ".join(said)


def models_text(models: tuple[str, ...]) -> str:
    """Return how many models there are, and the first of their names."""
    if not models:
        return "0"
    return f"{len(models)}: {', '.join(sanitize(model) for model in models[:MODELS_NAMED])}"


def _router_text(view: SnapshotView, url: str) -> str:
    router, requests = view.router, view.router.requests
    said = f"{sanitize(router.name) or 'Meshlight'} at {url}, up {duration(router.uptime_s)}"
    said += f", {count(requests.total, 'request')}"
    more = [f"{n:,} {what}" for n, what in ((requests.failed, "failed"), (requests.in_flight, "now")) if n]
    return f"{said} ({', '.join(more)})" if more else said


def _hanging_indent(head: Text, said: str, paper: TerminalStyle) -> list[Text]:
    """Show `said` after `head`; the lines after the first begin under it."""
    under = head.cell_len + 1
    first, *rest = wrap(sanitize(said), max(paper.width - under, 20))
    return [head + Text(f" {first}"), *(Text(" " * under + line) for line in rest)]
