"""How often a cluster lets itself be asked, by what it says of that.

What time it is at a cluster: a signature is good for 15 minutes around its date, by the cluster's clock.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from msgspec import Struct

from meshlight.http_client.headers import header_value
from meshlight.http_client.response import Headers

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
    text = header_value(headers, name)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


FAR_OFF_S = 300.0
"""A difference beyond this is corrected and told; requests are refused beyond 900."""
NOTICED_S = 5.0
"""A difference beyond this is shown: below, the answer's way through the network may be all of it."""
_DATE_STEP_S = 1.0
"""A Date header holds whole seconds, so that half a step is the best guess of what it leaves out."""
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


class ClusterClock:
    """Measures the difference by the Date of the cluster's answers, and dates requests.

    `wall` is Unix seconds by this machine's clock. With `follows`, requests are dated by the cluster's clock once
    ours is more than five minutes off.
    """

    def __init__(self, wall: Callable[[], float], *, follows: bool) -> None:
        self.offset_s = 0.0
        """How far the cluster's clock is ahead of this machine's."""
        self.follows = follows
        self._wall = wall

    @property
    def is_far_off(self) -> bool:
        """Whether the two differ so much that requests are in danger of being refused."""
        return abs(self.offset_s) > FAR_OFF_S

    def see(self, date: str) -> None:
        """Learn from the Date header of an answer that has just come; one that is no date is passed over."""
        try:
            found = parsedate_to_datetime(date)
        except (ValueError, OverflowError):
            return
        found = found if found.tzinfo else found.replace(tzinfo=UTC)
        if found > _EARLIEST:
            self.offset_s = found.timestamp() + _DATE_STEP_S / 2 - self._wall()

    def now(self) -> datetime:
        """Return the date of a request that is signed now, in UTC."""
        offset_s = self.offset_s if self.follows and self.is_far_off else 0.0
        return datetime.fromtimestamp(self._wall() + offset_s, UTC)

    def unix(self) -> float:
        """Return Unix seconds by the cluster's clock, as well as it is known."""
        return self._wall() + self.offset_s

    def difference(self) -> str:
        """Say how this machine's clock stands: "12 min behind the cluster's"."""
        size_s = abs(self.offset_s)
        if size_s < 90:
            size = f"{size_s:.0f} s"
        elif size_s < 90 * 60:
            size = f"{size_s / 60:.0f} min"
        elif size_s < 48 * 3600:
            size = f"{size_s / 3600:.0f} h"
        else:
            size = f"{size_s / 86400:.0f} days"
        return f"{size} {'behind' if self.offset_s > 0 else 'ahead of'} the cluster's"
