"""The state of the mesh in a colour and one line: what the icon shows, and what it says under the pointer."""

from meshlight.desktop.tray.state import TrayState
from meshlight.domain.api_types import BackendView, SnapshotView
from meshlight.domain.snapshot import Light
from meshlight.domain.text import count, cut, sanitize, shorten

PAUSED = "paused"
"""`router.status` of a service that passes no requests on."""
NAME_CELLS = 28
REASON_CELLS = 48

_BRIEF: dict[str, str] = {
    "refused": "refused, is it running?",
    "timed-out": "no answer in time",
    "name-not-found": "name not found",
    "unreachable": "unreachable",
    "tls": "no trusted connection (TLS)",
    "proxy": "its proxy does not connect",
    "unauthorized": "API key missing or refused",
    "forbidden": "no permission",
    "forbidden-address": "address not allowed",
    "rate-limited": "rate limited",
    "loading": "loading a model",
    "loading-too-long": "loading for too long",
    "not-an-api": "a web page, not an API",
    "not-this-kind": "something else answers there",
    "v1-missing": "no list of models at its URL",
    "v1-doubled": "its URL is too long",
    "redirected": "moved to another address",
    "server-error": "answers with an error",
    "bad-reply": "gives no readable answer",
    "connection-lost": "connection lost",
    "failing-requests": "requests fail",
    "not-checked": "not checked yet",
}
"""A reason's code → its cause in a few words. A code that is not here is said by its own sentence."""


def light_of(view: SnapshotView | None, state: TrayState) -> Light:
    """Return the colour of the icon. Red: the service is down, or every enabled backend is unhealthy.

    Grey: the service is starting or paused, or nothing is enabled. Else as the mesh itself has it.
    """
    if state.service in {"down", "stopped"}:
        return "red"
    if state.service == "starting" or view is None or view.router.status == PAUSED:
        return "grey"
    return view.light


def tooltip(view: SnapshotView | None, state: TrayState) -> str:
    """Return the line that says what the icon means: `1 of 4 down: vllm — refused, is it running?`."""
    if state.service == "stopped":
        return sanitize(state.said) or "The service has stopped."
    if state.service == "down":
        return sanitize(state.said) or "The service is down and is being started again."
    if state.service == "starting" or view is None:
        return sanitize(state.said) or "Starting the service."
    if view.router.status == PAUSED:
        return "Routing is paused."
    enabled = [backend for backend in view.backends if backend.enabled]
    down = [backend for backend in enabled if backend.health.state == "unhealthy"]
    warming = [backend for backend in enabled if backend.health.state == "warming"]
    if down:
        return _ill("down", down, len(enabled))
    if warming:
        return _ill("warming up", warming, len(enabled))
    if view.light == "green":
        who = f"{name(enabled[0])} is" if len(enabled) == 1 else f"All {len(enabled)} backends are"
        return f"{who} healthy, {count(len(view.models), 'model')}."
    return sanitize(view.light_reason)


def brief(backend: BackendView) -> str:
    """Return in a few words why a backend is as it is; nothing when it is healthy."""
    health = backend.health
    if health.state == "healthy":
        return ""
    return _BRIEF.get(health.reason) or cut(sanitize(health.text).rstrip("."), REASON_CELLS)


def name(backend: BackendView) -> str:
    """Return a backend's name as it fits into a line: strangers may have chosen it."""
    return shorten(sanitize(backend.name), NAME_CELLS) or "(no name)"


def fit(said: str, units: int) -> str:
    """Return `said` in at most `units` UTF-16 units, as Windows counts the letters of a tooltip."""
    if _units(said) <= units:
        return said
    kept = said
    while kept and _units(kept) > units - 1:
        kept = kept[:-1]
    return kept.rstrip() + "…"


def _ill(what: str, ill: list[BackendView], of: int) -> str:
    first = ill[0]
    said = f"{len(ill)} of {of} {what}: {name(first)}"
    if why := brief(first):
        said += f" — {why}"
    others = [name(backend) for backend in ill[1:]]
    return f"{said}; also {', '.join(others)}" if others else said


def _units(said: str) -> int:
    return len(said.encode("utf-16-le", "replace")) // 2
