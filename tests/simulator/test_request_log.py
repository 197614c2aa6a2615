"""What an engine remembers."""

import asyncio

import pytest

from meshlight.simulator.request_log import LoggedRequest, RequestLog


def test_counts_go_by_the_beginning_of_a_path() -> None:
    request_log = RequestLog(keep=0)
    for target in ("/v1/models?a=1", "/v1/chat/completions", "/health"):
        request_log.arrived(LoggedRequest(method="GET", target=target))
    assert (request_log.count(), request_log.count("/v1/"), request_log.count("/api")) == (3, 2, 0)
    assert request_log.most_in_flight == 3
    assert len(request_log.entries) == 0


async def test_a_wait_ends_when_what_it_waits_for_comes() -> None:
    request_log = RequestLog()
    logged = LoggedRequest(method="GET", target="/")
    waiting = asyncio.ensure_future(request_log.until(lambda: request_log.count_abandoned() == 1, str, 5))
    await asyncio.sleep(0)
    request_log.arrived(logged)
    request_log.ended(logged, client_left=True)
    await waiting
    assert logged.left_at == logged.ended_at


async def test_a_wait_that_is_over_says_why() -> None:
    with pytest.raises(TimeoutError, match=r"after 0 s: nothing came"):
        await RequestLog().until(lambda: False, lambda: "nothing came", 0)
