"""Reading response headers: a value by name, dates, and how long to wait before the next request."""

from datetime import UTC, datetime

from meshlight.http_client.reply import Headers

LONGEST_S = 3600.0
"""The longest wait that is accepted, in seconds: a wrong header must not switch a backend off for good."""


def header_value(headers: Headers, name: bytes) -> str:
    """Return the first header of that (lower-case) name as text, or an empty string."""
    return next((value.decode("latin-1").strip() for key, value in headers if key.lower() == name), "")


def retry_after_s(headers: Headers) -> float | None:
    """Return the seconds to wait by `retry-after-ms` or `Retry-After` (seconds or a date); None without them.

    A date is measured against the server's own `Date`, so that a wrong clock on either side does not matter.
    """
    for name, unit_s in ((b"retry-after-ms", 0.001), (b"retry-after", 1.0)):
        text = header_value(headers, name)
        if text.replace(".", "", 1).isascii() and text.replace(".", "", 1).isdigit():
            return min(float(text) * unit_s, LONGEST_S)
    until = read_date(header_value(headers, b"retry-after"))
    if until is None:
        return None
    now = read_date(header_value(headers, b"date")) or datetime.now(UTC)
    return min(max((until - now).total_seconds(), 0.0), LONGEST_S)


def read_date(text: str) -> datetime | None:
    """Return the time of a header's date (RFC 9110, section 5.6.7); None when it is not a date."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - few answers have a date that is read

    try:
        date = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
