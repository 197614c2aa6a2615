"""Who may send a request again, and when: the rules by themselves."""

from typing import Any

import pytest

from fake_clock import backend
from meshlight.domain.backend import Reason
from meshlight.domain.route_score import Tier
from meshlight.gateway.inference.failures import FailedAttempt
from meshlight.gateway.inference.request import Head, InferenceRequest
from meshlight.gateway.inference.retry_budget import RetryBudget
from meshlight.gateway.inference.retry_policy import (
    EXTRA_ATTEMPTS,
    RetryPolicy,
    allows_next,
    policy_for,
)

ORDINARY = policy_for(is_costly=False, is_metered=False)
COSTLY = policy_for(is_costly=True, is_metered=False)
METERED = policy_for(is_costly=False, is_metered=True)
BOTH = policy_for(is_costly=True, is_metered=True)


def failed(**fields: Any) -> FailedAttempt:
    return FailedAttempt(backend=backend("a"), reason=Reason("unreachable", "It is down."), **fields)


CONNECTION_FAILED = failed()
NO_ANSWER = failed(was_sent=True)
ANSWERED_500 = failed(was_sent=True, was_answered=True)
REJECTED_429 = failed(was_sent=True, was_answered=True, was_free=True)
FINAL = failed(was_sent=True, was_answered=True, was_free=True, is_final=True)


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        (ORDINARY, [CONNECTION_FAILED, NO_ANSWER, ANSWERED_500, REJECTED_429]),
        (COSTLY, [CONNECTION_FAILED, REJECTED_429]),
        (METERED, [CONNECTION_FAILED, ANSWERED_500, REJECTED_429]),
        (BOTH, [CONNECTION_FAILED, REJECTED_429]),
    ],
)
def test_another_backend_is_tried_unless_that_could_cost_or_do_something_twice(
    policy: RetryPolicy, allowed: list[FailedAttempt]
) -> None:
    every = [CONNECTION_FAILED, NO_ANSWER, ANSWERED_500, REJECTED_429, FINAL]
    assert [failure for failure in every if policy.may_try_next(failure)] == allowed


@pytest.mark.parametrize(
    ("policy", "new_connection", "resend", "may_leave"),
    [
        (ORDINARY, False, True, True),
        (COSTLY, True, True, False),
        (METERED, False, False, False),
        (BOTH, True, False, False),
    ],
)
def test_what_the_http_client_and_a_waiting_request_may_do(
    policy: RetryPolicy, new_connection: bool, resend: bool, may_leave: bool
) -> None:
    assert (policy.new_connection, policy.resend, policy.may_leave) == (new_connection, resend, may_leave)


@pytest.mark.parametrize(
    ("failures", "tier", "allowed"),
    [
        (1, "ready", True),
        (EXTRA_ATTEMPTS, "untried", True),
        (EXTRA_ATTEMPTS + 1, "ready", False),
        (1, "last-resort", False),
    ],
)
def test_routes_are_tried_in_limited_number_and_none_after_the_last_resort(
    failures: int, tier: Tier, allowed: bool
) -> None:
    request = InferenceRequest(
        operation="completions",
        target="/v1/completions",
        headers=(),
        content_type=b"application/json",
        body=b"",
        head=Head("m"),
    )
    assert allows_next(request, [NO_ANSWER] * failures, tier) is allowed


def test_the_first_failover_from_a_healthy_backend_is_outside_the_budget() -> None:
    budget = RetryBudget()
    while budget.take(100.0):
        pass
    assert budget.allows(1, "ready", 100.0)
    assert not budget.allows(1, "untried", 100.0)
    assert not budget.allows(2, "ready", 100.0)
