"""What is left of an account's limits, read from the headers of an answer.

OpenAI: `x-ratelimit-remaining-requests: 498`, `x-ratelimit-reset-requests: 6m0s` (a duration).
Anthropic: `anthropic-ratelimit-requests-remaining: 998`, `anthropic-ratelimit-requests-reset: 2026-05-01T12:00:12Z`.
Only numbers, durations and dates are read; whatever else a header holds is left out, never shown.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from meshlight.backends.response import Headers
from meshlight.backends.retry_after import header, read_date

LONGEST_S = 31 * 86_400.0
"""No limit is believed to last longer than a month."""
_NUMBER = re.compile(r"\d{1,15}")
_DURATION = re.compile(
    r"(?:(\d{1,4})d)?(?:(\d{1,5})h)?(?:(\d{1,6})m)?(?:(\d{1,8}(?:\.\d{1,9})?)s)?(?:(\d{1,9}(?:\.\d{1,9})?)ms)?"
)
"""As Go writes it (`1h2m3.5s`, `12ms`), and days."""
_SECONDS = re.compile(r"\d{1,8}(?:\.\d{1,9})?")
_UNITS_S = (86_400.0, 3_600.0, 60.0, 1.0, 0.001)
_PARTS = ("remaining", "limit", "reset")
_WHAT = {
    "requests": "Requests left",
    "tokens": "Tokens left",
    "input-tokens": "Input tokens left",
    "output-tokens": "Output tokens left",
}


def limits_say(headers: Headers) -> Mapping[str, str] | None:
    """Return a line for each limit (`{"Requests left": "498 of 500, back in 12 s"}`); None where there is none."""
    told = {
        name: value.decode("latin-1").strip()
        for raw, value in headers
        if b"-ratelimit-" in raw and len(value) <= 64 and (name := raw.decode("latin-1").lower())
    }
    if not told:
        return None
    now = read_date(header(headers, b"date"))
    lines: dict[str, str] = {}
    for what, label in _WHAT.items():
        of_openai = [told.get(f"x-ratelimit-{part}-{what}", "") for part in _PARTS]
        of_anthropic = [told.get(f"anthropic-ratelimit-{what}-{part}", "") for part in _PARTS]
        left, limit, reset = of_openai if of_openai[0] else of_anthropic
        if line := _line(left, limit, _reset_s(reset, now)):
            lines[label] = line
    return lines or None


def _line(left: str, limit: str, reset_s: float | None) -> str:
    if not _NUMBER.fullmatch(left):
        return ""
    line = f"{int(left):,}"
    if _NUMBER.fullmatch(limit):
        line += f" of {int(limit):,}"
        if int(left) >= int(limit):
            return line
    return line if reset_s is None else f"{line}, back in {_words(reset_s)}"


def _reset_s(text: str, now: datetime | None) -> float | None:
    """Return in how many seconds a limit is whole again."""
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


def _words(seconds: float) -> str:
    if seconds < 1:
        return "less than 1 s"
    for unit_s, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit}"
    return f"{seconds:.0f} s"
