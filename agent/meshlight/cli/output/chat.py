"""What `meshlight chat` shows beside answers: the models to choose from, and dim lines."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.text import Text

from meshlight.cli.output.console import TerminalStyle
from meshlight.cli.output.reports import details_of, serving_text, states_text
from meshlight.cli.output.table import Cell, Column, lay_out
from meshlight.domain.api_types import BackendView, ModelView, SnapshotView
from meshlight.domain.backend import RING_ORDER
from meshlight.domain.model_names import can_chat

LISTED = 30
"""Models that are listed to choose from; more are found by their names."""
_STATES = ("healthy", "warming", "unknown", "unhealthy")


def chat_models(view: SnapshotView) -> list[ModelView]:
    """Return the models that can chat: the healthy ones first, of these the nearest, of these those in memory."""
    backends = {b.id: b for b in view.backends}

    def rank(model: ModelView) -> tuple[int, int, bool, str]:
        serving = [backends[id_] for id_ in model.backends if id_ in backends]
        state = min((_STATES.index(b.health.state) for b in serving), default=len(_STATES))
        ring = min((RING_ORDER[b.ring] for b in serving), default=len(RING_ORDER))
        is_loaded = any(detail.loaded for detail in details_of(model, backends).values())
        return state, ring, not is_loaded, model.id

    models = [m for m in view.models if can_chat(m.id, _told(m, backends))]
    return sorted(models, key=rank)


def _told(model: ModelView, backends: Mapping[str, BackendView]) -> list[tuple[str, ...]]:
    return [detail.capabilities for detail in details_of(model, backends).values()]


def model_choices(models: Sequence[ModelView], view: SnapshotView, style: TerminalStyle) -> list[Text]:
    """Return a numbered line for each of these models."""
    backends = {b.id: b for b in view.backends}
    columns = (
        Column(title="", right=True),
        Column(title="MODEL", min_width=20),
        Column(title="RING", drop=1),
        Column(title="STATE", drop=2),
        Column(title="BACKENDS", min_width=16),
    )
    rows: list[list[Cell]] = []
    for number, model in enumerate(models[:LISTED], 1):
        ring, servers = serving_text(model, backends, style)
        state = states_text(details_of(model, backends).values())
        rows.append([str(number), model.id, ring, state, servers])
    return lay_out(columns, rows, style.width)


def print_dim(console: Console, text: str) -> None:
    """Print a line that is less important than the answers."""
    console.print(Text(text, "dim"))
