"""When an account lets the next request through, by what its last answer told of its limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.domain.account_limits import USUAL_RESET_S, AccountLimits, Limit, LimitKind


def limits(**told: Limit) -> AccountLimits:
    """Limits that were told at second 100, with one request on its way."""
    made = AccountLimits()
    names: dict[str, LimitKind] = {"requests": "requests", "tokens": "tokens", "output": "output-tokens"}
    made.record({names[name]: limit for name, limit in told.items()}, 1, 100.0)
    return made


def test_with_something_left_nothing_waits() -> None:
    account = limits(requests=Limit(1, 500, 60.0), tokens=Limit(3_000, 30_000, 60.0))
    assert account.wait_s(1, 3_000, 100.0) == 0.0


def test_those_on_their_way_take_what_is_left() -> None:
    account = limits(requests=Limit(2, 12, 60.0))
    assert account.wait_s(2, 0, 100.0) == 0.0
    assert account.wait_s(3, 0, 100.0) == 6.0, "ten come back in a minute"


def test_a_limit_fills_up_little_by_little() -> None:
    account = limits(requests=Limit(0, 60, 60.0))
    assert account.wait_s(0, 0, 100.0) == 1.0
    assert account.wait_s(0, 0, 100.5) == 0.5
    assert account.wait_s(0, 0, 101.0) == 0.0


def test_a_prompt_waits_for_as_many_tokens() -> None:
    account = limits(tokens=Limit(1_000, 60_000, 59.0))
    assert account.wait_s(1, 2_000, 100.0) == 1.0
    assert account.wait_s(1, 1_000_000, 100.0) == 59.0, "never longer than until it is whole"
    assert account.wait_s(1, 1_000_000, 159.0) == 0.0


def test_what_is_not_told_is_as_usual() -> None:
    assert limits(requests=Limit(0)).wait_s(0, 0, 100.0) == USUAL_RESET_S
    assert limits(output=Limit(0, None, 20.0)).wait_s(0, 9, 105.0) == 15.0
    assert AccountLimits().wait_s(9, 9, 0.0) == 0.0


@given(
    st.integers(0, 1_000), st.none() | st.integers(0, 1_000), st.none() | st.floats(0, 1e6), st.floats(0, 1e6)
)
def test_it_ends_and_never_grows(left: int, most: int | None, reset_s: float | None, since_s: float) -> None:
    account = limits(requests=Limit(left, most, reset_s))
    whole_s = USUAL_RESET_S if reset_s is None else reset_s
    wait_s = account.wait_s(5, 0, 100.0 + since_s)
    assert 0.0 <= wait_s <= max(whole_s - since_s, 0.0) + 1e-6
    assert account.wait_s(5, 0, 101.0 + since_s) <= wait_s
    assert account.wait_s(5, 0, 100.0 + wait_s + since_s) == pytest.approx(0.0, abs=1e-4)
