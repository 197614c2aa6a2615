"""The state of the mesh as the colour of the tray icon and as one line for its tooltip. Pure functions."""

from meshlight.desktop.tray.state import TrayState
from meshlight.domain.api_types import BackendView, SnapshotView
from meshlight.domain.snapshot import Light
from meshlight.domain.text import count, cut, sanitize, shorten

PAUSED = "paused"
"""`router.status` of a service that routes no requests."""
NAME_CELLS = 28
REASON_CELLS = 48

_SHORT_REASONS: dict[str, str] = {
    "refused": "refused, is it running?",
    "timed-out": "timed out",
    "name-not-found": "name not found",
    "unreachable": "unreachable",
    "tls": "TLS certificate not trusted",
    "proxy": "its proxy does not connect",
    "unauthorized": "API key missing or refused",
    "forbidden": "no permission",
    "forbidden-address": "address not allowed",
    "rate-limited": "rate limited",
    "loading": "loading a model",
    "loading-too-long": "loading for too long",
    "not-an-api": "a web page, not an API",
    "not-this-kind": "another program answers there",
    "v1-missing": "no model list at its URL",
    "v1-doubled": "/v1 twice in its URL",
    "redirected": "redirects to another address",
    "server-error": "server error",
    "bad-reply": "unreadable answer",
    "connection-lost": "connection lost",
    "failing-requests": "requests fail",
    "not-checked": "not checked yet",
}
"""The code of a reason → its cause in a few words. For other codes, the reason's own text is shown."""


def light_of(view: SnapshotView | None, state: TrayState) -> Light:
    """Return the colour of the icon.

    Red if the service is down, grey while it starts or is paused, and otherwise the overall light of the mesh.
    """
    if state.service in {"down", "stopped"}:
        return "red"
    if state.service == "starting" or view is None or view.router.status == PAUSED:
        return "grey"
    return view.light


def tooltip(view: SnapshotView | None, state: TrayState) -> str:
    """Return the line that explains the icon, such as `1 of 4 down: vllm — refused, is it running?`."""
    if state.service == "stopped":
        return sanitize(state.message) or "The service has stopped."
    if state.service == "down":
        return sanitize(state.message) or "The service is down and is being restarted."
    if state.service == "starting" or view is None:
        return sanitize(state.message) or "The service is starting."
    if view.router.status == PAUSED:
        return "Routing is paused."
    enabled = [backend for backend in view.backends if backend.enabled]
    down = [backend for backend in enabled if backend.health.state == "unhealthy"]
    warming = [backend for backend in enabled if backend.health.state == "warming"]
    if down:
        return _unhealthy_text("down", down, len(enabled))
    if warming:
        return _unhealthy_text("warming up", warming, len(enabled))
    if view.light == "green":
        who = f"{name(enabled[0])} is" if len(enabled) == 1 else f"All {len(enabled)} backends are"
        return f"{who} healthy, {count(len(view.models), 'model')}."
    return sanitize(view.light_reason)


def short_reason(backend: BackendView) -> str:
    """Return in a few words why a backend is not healthy; empty if it is."""
    health = backend.health
    if health.state == "healthy":
        return ""
    return _SHORT_REASONS.get(health.reason) or cut(sanitize(health.text).rstrip("."), REASON_CELLS)


def name(backend: BackendView) -> str:
    """Return a backend's name, sanitized and shortened for one line: it may come from an untrusted machine."""
    return shorten(sanitize(backend.name), NAME_CELLS) or "(no name)"


def fit(text: str, units: int) -> str:
    """Return `text` shortened to at most `units` UTF-16 code units, as Windows limits tooltips."""
    if _units(text) <= units:
        return text
    shortened = text
    while shortened and _units(shortened) > units - 1:
        shortened = shortened[:-1]
    return shortened.rstrip() + "…"


def _unhealthy_text(what: str, unhealthy: list[BackendView], of: int) -> str:
    first = unhealthy[0]
    text = f"{len(unhealthy)} of {of} {what}: {name(first)}"
    if why := short_reason(first):
        text += f" — {why}"
    others = [name(backend) for backend in unhealthy[1:]]
    return f"{text}; also {', '.join(others)}" if others else text


def _units(text: str) -> int:
    return len(text.encode("utf-16-le", "replace")) // 2
