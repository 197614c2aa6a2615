"""What is left of the limits of an account, worked out from what its last answer told.

Providers fill a limit again little by little and tell when it will be whole: OpenAI in `x-ratelimit-reset-requests`,
Anthropic in `anthropic-ratelimit-requests-reset`. So an account with nothing left takes the next request long before
that, and what other programs use of it shows with the next answer only: it is an expectation, which puts an account
last but never forbids it.
"""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

LimitKind = Literal["requests", "tokens", "input-tokens", "output-tokens"]

USUAL_RESET_S = 60.0
"""Limits are per minute, where no time is told."""
_WHAT: Mapping[LimitKind, str] = {
    "requests": "Requests left",
    "tokens": "Tokens left",
    "input-tokens": "Input tokens left",
    "output-tokens": "Output tokens left",
}
_OF_PROMPT: frozenset[LimitKind] = frozenset({"tokens", "input-tokens"})


class Limit(Struct, frozen=True):
    """One limit as an answer told it."""

    left: int
    most: int | None = None
    """The whole of it."""
    reset_s: float | None = None
    """Seconds until it is whole again."""


class AccountLimits:
    """The limits of one account, as of its last answer."""

    __slots__ = ("_at", "_in_flight", "_limits")

    def __init__(self) -> None:
        self._limits: dict[LimitKind, Limit] = {}
        self._at = 0.0
        self._in_flight = 0

    def record(self, limits: Mapping[LimitKind, Limit], in_flight: int, now: float) -> None:
        """Take in what an answer told, with so many requests on their way to the account, itself included."""
        self._limits = dict(limits)
        self._at = now
        self._in_flight = in_flight

    def wait_s(self, in_flight: int, tokens: int, now: float) -> float:
        """Return the seconds until a request with a prompt of so many tokens is let through; 0 if it is now."""
        since_s = now - self._at
        wait_s = 0.0
        for kind, limit in self._limits.items():
            reset_s = USUAL_RESET_S if limit.reset_s is None else limit.reset_s
            if since_s >= reset_s:
                continue
            if kind == "requests":  # those that began since then are not counted in it
                left, need = limit.left - max(in_flight - self._in_flight, 0), 1
            else:
                left, need = limit.left, max(tokens, 1) if kind in _OF_PROMPT else 1
            each_s = reset_s / max((limit.most or limit.left + 1) - limit.left, 1)
            missing_s = (need - left) * each_s - since_s
            if missing_s > 0:
                wait_s = max(wait_s, min(missing_s, reset_s - since_s))
        return wait_s


def limit_lines(limits: Mapping[LimitKind, Limit]) -> Mapping[str, str]:
    """Return a line for each limit: `{"Requests left": "498 of 500, back in 12 s"}`."""
    return {_WHAT[what]: _line(limit) for what, limit in limits.items()}


def _line(limit: Limit) -> str:
    line = f"{limit.left:,}"
    if limit.most is not None:
        line += f" of {limit.most:,}"
        if limit.left >= limit.most:
            return line
    return line if limit.reset_s is None else f"{line}, back in {_duration(limit.reset_s)}"


def _duration(seconds: float) -> str:
    if seconds < 1:
        return "less than 1 s"
    for unit_s, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s"
