"""How often a cluster is asked."""

import pytest

from meshlight.backends.backend_ai.limits import Quota, limited_wait_s, read_quota


@pytest.mark.parametrize(
    ("limit", "interval_s"), [(10_000, 5.0), (1800, 5.0), (500, 18.0), (100, 90.0), (1, 3600.0)]
)
def test_checks_use_a_tenth_of_what_an_account_may_ask(limit: int, interval_s: float) -> None:
    assert Quota(limit, limit).interval_s == interval_s


def test_refusals_double_the_wait_between_a_minute_and_a_quarter_of_an_hour() -> None:
    assert [limited_wait_s(n, None) for n in (1, 2, 3, 4, 5, 99)] == [60, 120, 240, 480, 900, 900]
    assert [limited_wait_s(1, asked) for asked in (5.0, 100.0, 1e9)] == [60, 100, 900]


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
