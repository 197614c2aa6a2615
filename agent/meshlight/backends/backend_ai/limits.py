"""How often a cluster lets itself be asked, by what it says of that."""

from msgspec import Struct

from meshlight.backends.response import Headers
from meshlight.backends.retry_after import header

SHARE = 0.1
"""The part of an account's requests that health checks may use up: other programs live by the same keys."""
WINDOW_S = 900.0
"""Of backend.ai-manager, where it does not say otherwise."""
INTERVAL_MIN_S = 5.0
INTERVAL_MAX_S = 3600.0
LIMITED_MIN_S = 60.0
LIMITED_MAX_S = 900.0


class Quota(Struct, frozen=True):
    """The signed requests that an account may send in a window of time."""

    limit: int
    left: int
    window_s: float = WINDOW_S

    @property
    def interval_s(self) -> float:
        """How long to wait between two checks."""
        wish = self.window_s / (self.limit * SHARE)
        return min(max(wish, INTERVAL_MIN_S), INTERVAL_MAX_S)

    def __str__(self) -> str:
        return f"{self.left:,} of {self.limit:,} in {self.window_s / 60:g} min"


def read_quota(headers: Headers) -> Quota | None:
    """Read `X-RateLimit-Limit`, `-Remaining` and `-Window`; None when an answer has no sound ones."""
    limit, left = _number(headers, b"x-ratelimit-limit"), _number(headers, b"x-ratelimit-remaining")
    if not limit or left is None:
        return None
    return Quota(limit, min(left, limit), float(_number(headers, b"x-ratelimit-window") or WINDOW_S))


def limited_wait_s(times: int, asked_for_s: float | None) -> float:
    """Return how long to stay away after so many refusals (429) in a row: twice as long each time."""
    doubled_s: float = LIMITED_MIN_S * 2 ** min(times - 1, 10)
    return min(max(doubled_s, asked_for_s or 0.0), LIMITED_MAX_S)


def _number(headers: Headers, name: bytes) -> int | None:
    text = header(headers, name)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None
