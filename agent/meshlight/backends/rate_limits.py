"""What is left of an account's limits, which is in the headers of every answer of most providers.

OpenAI: `x-ratelimit-remaining-requests: 498`, `x-ratelimit-reset-requests: 6m0s` (a duration).
Anthropic: `anthropic-ratelimit-requests-remaining: 998`, `anthropic-ratelimit-requests-reset: 2026-05-01T12:00:12Z`.
Only numbers, durations and dates are read; anything else in a header is left out, never shown.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import get_args

from meshlight.domain.account_limits import Limit, LimitKind
from meshlight.http_client.headers import header_value, read_date
from meshlight.http_client.reply import Headers

LONGEST_S = 31 * 86_400.0
"""A longer limit is shown as a month."""
_NUMBER = re.compile(r"\d{1,15}")
_DURATION = re.compile(
    r"(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,8}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?"
)
"""As Go writes it (`1h2m3.5s`, `12ms`), and days."""
_SECONDS = re.compile(r"\d{1,8}(?:\.\d{1,9})?")
_UNITS_S = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)
_PARTS = ("remaining", "limit", "reset")


def rate_limits(headers: Headers) -> Mapping[LimitKind, Limit]:
    """Return the limits that the headers of an answer tell; empty for none."""
    told = {
        name: value.decode("latin-1").strip()
        for raw, value in headers
        if b"-ratelimit-" in raw and len(value) <= 64 and (name := raw.decode("latin-1").lower())
    }
    if not told:
        return {}
    now = read_date(header_value(headers, b"date"))
    limits: dict[LimitKind, Limit] = {}
    for what in get_args(LimitKind):
        of_openai = [told.get(f"x-ratelimit-{part}-{what}", "") for part in _PARTS]
        of_anthropic = [told.get(f"anthropic-ratelimit-{what}-{part}", "") for part in _PARTS]
        left, most, reset = of_openai if of_openai[0] else of_anthropic
        if _NUMBER.fullmatch(left):
            limits[what] = Limit(
                int(left), int(most) if _NUMBER.fullmatch(most) else None, _reset_s(reset, now)
            )
    return limits


def _reset_s(text: str, now: datetime | None) -> float | None:
    """Return the seconds until a limit is reset; None if the text is neither a duration nor a date."""
    if not text:
        return None
    if _SECONDS.fullmatch(text):
        return min(float(text), LONGEST_S)
    if found := _DURATION.fullmatch(text):
        return min(
            sum(float(part or 0) * unit_s for part, unit_s in zip(found.groups(), _UNITS_S, strict=True)),
            LONGEST_S,
        )
    if now is None:
        return None
    try:
        then = datetime.fromisoformat(text)
    except ValueError:
        return None
    then = then if then.tzinfo else then.replace(tzinfo=UTC)
    return min(max((then - now).total_seconds(), 0.0), LONGEST_S)
