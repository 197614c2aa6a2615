"""How often a cluster is asked."""

import pytest

from meshlight.backends.backend_ai.limits import Quota, named_pause_s, pause_s, read_quota


@pytest.mark.parametrize(
    ("limit", "interval_s"), [(10_000, 5.0), (1800, 5.0), (500, 18.0), (100, 90.0), (1, 3600.0)]
)
def test_checks_use_a_tenth_of_what_an_account_may_ask(limit: int, interval_s: float) -> None:
    assert Quota(limit, limit).interval_s == interval_s


def test_refusals_double_the_wait_between_a_minute_and_a_quarter_of_an_hour() -> None:
    assert [pause_s(n) for n in (1, 2, 3, 4, 5, 99)] == [60, 120, 240, 480, 900, 900]


@pytest.mark.parametrize(
    ("name", "value", "named_s"),
    [
        ("retry-after", "20", 20.0),
        ("retry-after", "0", 1.0),
        ("retry-after", "1e9", None),
        ("retry-after", "999999", 3600.0),
        ("retry-after", "Mon, 21 Sep 2026 14:13:50 GMT", 30.0),
        ("retry-after-ms", "2500", 2.5),
        ("x-ratelimit-reset", "45", 45.0),
        ("x-ratelimit-reset", "1790000120", 120.0),
        ("x-ratelimit-reset", "1790000120500", 120.5),
        ("x-ratelimit-reset", "2026-09-21T14:14:20Z", 60.0),
        ("x-ratelimit-reset", "1789999999", None),
        ("x-ratelimit-reset-after", "7.5", 7.5),
        ("x-rate-limit-reset", "8", 8.0),
        ("ratelimit-reset", "9", 9.0),
        ("ratelimit", '"default";r=0;t=33', 33.0),
        ("ratelimit", "limit=100, remaining=0, reset=34", 34.0),
        ("ratelimit", "limit=100", None),
        ("x-ratelimit-reset", "soon", None),
        ("x-ratelimit-reset", "9" * 40, None),
        ("x-ratelimit-window", "900", None),
    ],
)
def test_a_pause_is_as_long_as_the_answer_says(name: str, value: str, named_s: float | None) -> None:
    date = (b"date", b"Mon, 21 Sep 2026 14:13:20 GMT")
    assert named_pause_s([date, (name.encode(), value.encode())], 1_790_000_000.0) == named_s


@pytest.mark.parametrize("value", [b"", b"-1", b"0", b"many", b"9" * 40, "²".encode("latin-1")])
def test_a_limit_that_is_no_number_is_none(value: bytes) -> None:
    assert read_quota([(b"x-ratelimit-limit", value), (b"x-ratelimit-remaining", b"5")]) is None


def test_a_quota_is_shown_with_its_window() -> None:
    headers = [
        (b"x-ratelimit-limit", b"500"),
        (b"x-ratelimit-remaining", b"498"),
        (b"x-ratelimit-window", b"60"),
    ]
    assert str(read_quota(headers)) == "498 of 500 in 1 min"
