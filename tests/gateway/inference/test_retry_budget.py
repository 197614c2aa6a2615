"""Retries are bounded: a fifth of the requests, and never fewer than three."""

from meshlight.gateway.inference.retry_budget import RetryBudget


def test_a_quiet_gateway_may_retry_three_times() -> None:
    budget = RetryBudget()
    assert [budget.take(100.0) for _ in range(4)] == [True, True, True, False]


def test_a_busy_gateway_may_retry_a_fifth_of_its_requests() -> None:
    budget = RetryBudget()
    for _ in range(100):
        budget.record_request(100.0)
    assert sum(budget.take(101.0) for _ in range(100)) == 20


def test_the_budget_comes_back_with_time() -> None:
    budget = RetryBudget()
    while budget.take(100.0):
        pass
    assert not budget.take(106.0)
    assert budget.take(120.0)
