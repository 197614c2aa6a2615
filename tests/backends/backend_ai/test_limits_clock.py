"""The cluster's time, by the Date of its answers."""

import pytest

from meshlight.backends.backend_ai.limits import ClusterClock


def clock(*, follows: bool = True) -> ClusterClock:
    return ClusterClock(lambda: 1_790_000_000.0, follows=follows)  # 2026-09-21 14:13:20 UTC


def test_requests_are_dated_by_this_machine_while_it_is_about_right() -> None:
    measured = clock()
    measured.set_from("Mon, 21 Sep 2026 14:17:20 GMT")
    assert (measured.is_far_off, measured.now().isoformat()) == (False, "2026-09-21T14:13:20+00:00")


def test_requests_are_dated_by_the_cluster_when_it_is_not() -> None:
    measured = clock()
    measured.set_from("Mon, 21 Sep 2026 15:13:20 GMT")
    assert (measured.is_far_off, measured.now().isoformat()) == (True, "2026-09-21T15:13:20.500000+00:00")


def test_requests_are_dated_by_this_machine_when_that_is_wished() -> None:
    measured = clock(follows=False)
    measured.set_from("Mon, 21 Sep 2026 15:13:20 GMT")
    assert (measured.is_far_off, measured.now().isoformat()) == (True, "2026-09-21T14:13:20+00:00")
    assert measured.unix() == 1_790_003_600.5


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Mon, 99 Sep 2026", "Thu, 01 Jan 1970 00:00:00 GMT", "9" * 5000]
)
def test_a_date_that_is_none_changes_nothing(date: str) -> None:
    measured = clock()
    measured.set_from(date)
    assert measured.offset_s == 0.0


@pytest.mark.parametrize(
    ("offset_s", "text"),
    [
        (12.0, "12 s behind the cluster's"),
        (-45.0, "45 s ahead of the cluster's"),
        (1020.0, "17 min behind the cluster's"),
        (-10_800.0, "3 h ahead of the cluster's"),
        (9e5, "10 days behind the cluster's"),
    ],
)
def test_a_difference_is_said_in_words(offset_s: float, text: str) -> None:
    measured = clock()
    measured.offset_s = offset_s
    assert measured.difference() == text
