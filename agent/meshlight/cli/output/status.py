"""The report of `meshlight status`: the light, the service, each backend, and fixes for unhealthy ones."""

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
    Column(title="NAME", min_width=20),
    Column(title="KIND", min_width=12, fit=cut),
    Column(title="RING", drop=2),
    Column(title="LATENCY", right=True),
    Column(title="MODELS", min_width=14, fit=cut),
    Column(title="REQUESTS", drop=1),
)


def status_report(view: SnapshotView, url: str, style: TerminalStyle) -> RenderableType:
    """Return the report on the whole mesh."""
    light = LIGHTS[view.light]
    parts: list[RenderableType] = [
        *_hanging_indent(style.state(light).append(":"), view.light_reason, style),
        *[Text(line, "bright_black") for line in wrap(_router_text(view, url), style.width)],
    ]
    for notice in view.notices:
        parts += message_lines(WARN, notice, "", style)
    parts.append("")
    if not view.backends:
        parts += [
            "Find or add a first one, step by step, with: meshlight setup",
            "Start an engine such as llama-server or Ollama on this machine: it is found automatically.",
            "Add one on another machine by its address, for example:",
            "  meshlight backends add openai-compatible http://192.168.1.20:8000",
            "Or get a small model for this machine with: meshlight models pull starter",
        ]
        return Group(*parts)
    parts += backend_lines(view.backends, style)
    parts += [Text(line, "bright_black") for line in wrap(memory_text(view.backends), style.width) if line]
    shown = [b for b in view.backends if b.enabled]
    messages = [line for b in shown if b.health.state != "healthy" for line in problem_lines(b, style)]
    messages += [
        line
        for b in shown
        for text in b.warnings
        for line in message_lines(WARN, f"{b.name}: {text}", "", style)
    ]
    if not view.models and all(b.kind == "local" for b in shown):
        messages.append(Text("Get a small model for this machine with: meshlight models pull starter"))
    return Group(*parts, "", *messages) if messages else Group(*parts)


def memory_text(backends: Iterable[BackendView]) -> str:
    """Return how many of this machine's own models are in memory; empty where it has none."""
    here = next((b for b in backends if b.kind == "local" and b.enabled and b.models), None)
    if here is None:
        return ""
    loaded = sum(bool(detail.loaded) for detail in here.details.values())
    memory = f" ({sanitize(here.about['Memory'])})" if "Memory" in here.about else ""
    text = f"{sanitize(here.name)}: {loaded} of {count(len(here.models), 'model')} in memory{memory}."
    return f"{text} More with: meshlight models list"


def backend_lines(backends: Iterable[BackendView], style: TerminalStyle) -> list[Text]:
    """Return one line for each backend."""
    rows: list[list[Cell]] = [
        [
            style.state(glyph_of(b)),
            b.name,
            b.kind,
            b.ring,
            milliseconds(b.latency_ms) if b.enabled else DASH,
            models_text(b.models),
            requests_text(b.requests),
        ]
        for b in backends
    ]
    return lay_out(_COLUMNS, rows, style.width)


def problem_lines(backend: BackendView, style: TerminalStyle) -> list[Text]:
    """Return why a backend is not healthy, since when, and the fix."""
    health = backend.health
    text = f"{backend.name} ({health.state} for {duration(health.since_s)}): {health.text}"
    return message_lines(glyph_of(backend), text, health.fix, style)


def message_lines(glyph: StatusGlyph, text: str, fix: str, style: TerminalStyle) -> list[Text]:
    """Return a sentence after its glyph, and the fix below it; long texts wrap with a hanging indent."""
    lines = _hanging_indent(style.coloured_shape(glyph), text, style)
    if fix:
        lines += _hanging_indent(Text("  ").append("Fix:", "bold"), fix, style)
    return lines


def requests_text(requests: Requests) -> str:
    """Return the counts that are not zero: `128, 3 failed, 1 now`."""
    parts = [f"{requests.total:,}"]
    if requests.failed:
        parts.append(f"{requests.failed:,} failed")
    if requests.in_flight:
        parts.append(f"{requests.in_flight:,} now")
    return ", ".join(parts)


def models_text(models: tuple[str, ...]) -> str:
    """Return the number of models, and the first of their names."""
    if not models:
        return "0"
    return f"{len(models)}: {', '.join(sanitize(model) for model in models[:MODELS_NAMED])}"


def _router_text(view: SnapshotView, url: str) -> str:
    router, requests = view.router, view.router.requests
    text = f"{sanitize(router.name) or 'Meshlight'} at {url}, up {duration(router.uptime_s)}"
    text += f", {count(requests.total, 'request')}"
    counts = [f"{n:,} {what}" for n, what in ((requests.failed, "failed"), (requests.in_flight, "now")) if n]
    return f"{text} ({', '.join(counts)})" if counts else text


def _hanging_indent(head: Text, text: str, style: TerminalStyle) -> list[Text]:
    """Show `text` after `head`; the lines after the first begin under it."""
    under = head.cell_len + 1
    first, *rest = wrap(sanitize(text), max(style.width - under, 20))
    return [head + Text(f" {first}"), *(Text(" " * under + line) for line in rest)]
