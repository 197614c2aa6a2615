"""How often a cluster may be asked, and what time it is there.

An account has a number of signed requests in a window of time. Checks use a small share of it; after a 429 nothing
signed is sent for as long as the answer says, or else for a growing pause.
A signature is valid for 15 minutes around its date, by the cluster's clock. That clock is read from the Date header
of the answers.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime

from msgspec import Struct

from meshlight.http_client.headers import LONGEST_S, header_value, read_date, retry_after_s
from meshlight.http_client.reply import Headers

SHARE = 0.1
"""The part of an account's requests that health checks may use: other programs use the same keys."""
WINDOW_S = 900.0
"""The window of backend.ai-manager, where an answer names none."""
INTERVAL_MIN_S = 5.0
INTERVAL_MAX_S = 3600.0
PAUSE_MIN_S = 60.0
PAUSE_MAX_S = 900.0
NAMED_PAUSE_MIN_S = 1.0


class Quota(Struct, frozen=True):
    """The signed requests that an account may send in a window of time."""

    limit: int
    left: int
    window_s: float = WINDOW_S

    @property
    def interval_s(self) -> float:
        """Seconds between two checks."""
        interval_s = self.window_s / (self.limit * SHARE)
        return min(max(interval_s, INTERVAL_MIN_S), INTERVAL_MAX_S)

    def __str__(self) -> str:
        return f"{self.left:,} of {self.limit:,} in {self.window_s / 60:g} min"


def read_quota(headers: Headers) -> Quota | None:
    """Read `X-RateLimit-Limit`, `-Remaining` and `-Window` of an answer to a signed request; None without valid ones.

    Answers to unsigned requests name a limit too, which is not the account's.
    """
    limit, left = _number(headers, b"x-ratelimit-limit"), _number(headers, b"x-ratelimit-remaining")
    if not limit or left is None:
        return None
    return Quota(limit, min(left, limit), float(_number(headers, b"x-ratelimit-window") or WINDOW_S))


def pause_s(refusals: int) -> float:
    """Return the pause after so many 429 in a row that name none: from one minute, doubled, to a quarter of an hour.

    backend.ai-manager counts refused requests too, in any 900 s: asking on would make the pause longer.
    """
    doubled_s: float = PAUSE_MIN_S * 2 ** min(refusals - 1, 10)
    return min(doubled_s, PAUSE_MAX_S)


_RESET_NAMES = (b"ratelimit-reset", b"x-ratelimit-reset", b"x-ratelimit-reset-after", b"x-rate-limit-reset")
_RESET_FIELD = re.compile(r"(?:^|[;,])\s*(?:t|reset)\s*=\s*(\d{1,8})\b")
_DECIMAL = re.compile(r"\d{1,14}(?:\.\d{1,9})?")
_EPOCH_S = 1e9
"""A number from here on is an instant in Unix seconds, no length of time."""
_EPOCH_MS = 1e11
"""A number from here on is an instant in milliseconds."""


def named_pause_s(headers: Headers, now: float) -> float | None:
    """Return the pause that a 429 names, in seconds from 1 to an hour; None when it names none.

    Read are `Retry-After` and, without it, the headers of a reset: `RateLimit` (`t` or `reset`), `RateLimit-Reset`
    (drafts of IETF httpapi), `X-RateLimit-Reset` and its relatives, as seconds or as an instant. Managers send none
    of them; the proxies in front of them do. `now` is Unix seconds by the server's clock.
    """
    found_s = retry_after_s(headers)
    if found_s is None:
        found_s = _reset_s(headers, now)
    return None if found_s is None else min(max(found_s, NAMED_PAUSE_MIN_S), LONGEST_S)


def _reset_s(headers: Headers, now: float) -> float | None:
    if found := _RESET_FIELD.search(header_value(headers, b"ratelimit")):
        return float(found[1])
    text = next((text for name in _RESET_NAMES if (text := header_value(headers, name))), "")
    if _DECIMAL.fullmatch(text):
        number = float(text)
        if number < _EPOCH_S:
            return number
        instant = number / 1000 if number >= _EPOCH_MS else number
    elif (date := _date(text)) is not None:
        instant = date.timestamp()
    else:
        return None
    return instant - now if instant > now else None


def _date(text: str) -> datetime | None:
    """Read a date as in HTTP or ISO 8601; one without a zone is UTC."""
    try:
        date = read_date(text) or datetime.fromisoformat(text)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)


def _number(headers: Headers, name: bytes) -> int | None:
    text = header_value(headers, name)
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


FAR_OFF_S = 300.0
"""A difference beyond this is corrected and warned of; a manager refuses requests beyond 900."""
SHOWN_S = 5.0
"""A difference beyond this is shown: a smaller one may be the time that an answer travels."""
_DATE_STEP_S = 1.0
"""A Date header holds whole seconds: on average it is half a step behind."""
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)


class ClusterClock:
    """Measures how far the cluster's clock is off this machine's, and dates requests.

    `wall` is Unix seconds by this machine's clock. With `follows`, requests are dated by the cluster's clock once
    the two differ by more than five minutes.
    """

    def __init__(self, wall: Callable[[], float], *, follows: bool) -> None:
        self.offset_s = 0.0
        """How far the cluster's clock is ahead of this machine's."""
        self.follows = follows
        self._wall = wall

    @property
    def is_far_off(self) -> bool:
        """Whether the two differ so much that requests may be refused."""
        return abs(self.offset_s) > FAR_OFF_S

    def set_from(self, date: str) -> None:
        """Measure by the Date header of an answer that has just come; an invalid one is ignored."""
        found = read_date(date)
        if found is not None and found > _EARLIEST:
            self.offset_s = found.timestamp() + _DATE_STEP_S / 2 - self._wall()

    def now(self) -> datetime:
        """Return the date of a request that is signed now, in UTC."""
        offset_s = self.offset_s if self.follows and self.is_far_off else 0.0
        return datetime.fromtimestamp(self._wall() + offset_s, UTC)

    def unix(self) -> float:
        """Return Unix seconds by the cluster's clock, as far as it is known."""
        return self._wall() + self.offset_s

    def difference(self) -> str:
        """Return how this machine's clock differs, such as "12 min behind the cluster's"."""
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
