"""Why a route goes before another one, in words: for the header of an answer, and for whoever asks about a route."""

from collections.abc import Mapping

from meshlight.domain.choice import RouteFacts, Step

_FIRST: Mapping[Step, str] = {
    "rule": "preferred by the rule",
    "ring": "nearest",
    "conversation": "same conversation",
    "priority": "first by priority",
    "latency": "lower latency",
    "turn": "its turn",
}
_LATER: Mapping[Step, str] = {
    "rule": "less preferred by the rule",
    "ring": "farther away",
    "conversation": "the conversation was not here",
    "loaded": "it has to load the model",
    "priority": "later by priority",
    "latency": "higher latency",
    "turn": "as good, they take turns",
}

ONLY_ONE = "the only choice"
"""Why a request goes to a route that is the only one."""

_REQUESTS: tuple[Step, ...] = ("waiting", "busy")


def why_first(step: Step, route: RouteFacts, other: RouteFacts, others_name: str) -> str:
    """Return why a route goes before another one, without a full stop."""
    if step == "context":
        if route.context is None:
            return "may hold the prompt: its context is not known"
        return f"its context of {tokens_text(route.context)} holds the prompt"
    if step == "slot":
        if other.must_load and not other.is_full:
            return _warm(route)
        if other.held_s:
            return f"the limit of {others_name} is used up"
        return f"{others_name} is {'full' if other.is_full else 'busy'}"
    if step in _REQUESTS:
        return f"fewest requests ({route.in_flight})"
    if step == "loaded":
        return _warm(route)
    return _time(route) if step == "time" else _FIRST[step]


def why_only(route: RouteFacts) -> str:
    """Return why a route is the only one left, where the others have too small a context."""
    return (
        f"only one with {tokens_text(route.context)} context"
        if route.context
        else "only one that may hold the prompt"
    )


def why_later(step: Step, route: RouteFacts) -> str:
    """Return why a route goes after another one."""
    if step == "context":
        return f"its context of {tokens_text(route.context)} is too small"
    if step == "slot":
        if route.must_load and not route.is_full:
            return _LATER["loaded"]
        if route.held_s:
            return f"the limit of its account is used up for {seconds_text(route.held_s)}"
        return "it is full" if route.is_full else "it is busy"
    if step in _REQUESTS:
        return f"more requests ({route.in_flight})"
    return _time(route) if step == "time" else _LATER[step]


def tokens_text(tokens: int | None) -> str:
    """Return a size of a context as people write it: `8k`, `128k`."""
    if tokens is None:
        return "unknown size"
    if tokens < 1_000:
        return str(tokens)
    in_units = tokens / 1024 if tokens % 1024 == 0 and tokens % 1000 else tokens / 1000
    return f"{in_units:.0f}k"


def seconds_text(seconds: float) -> str:
    """Return seconds as people write them: `0.3 s`, `12 s`."""
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _warm(route: RouteFacts) -> str:
    """Return why a route goes before one that has to load the model."""
    return "done sooner, though it loads first" if route.must_load else "warm here"


def _time(route: RouteFacts) -> str:
    finish_s = route.finish_s()
    return "its turn" if finish_s is None else f"expected in {seconds_text(finish_s)}"
