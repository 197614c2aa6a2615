"""What an engine remembers."""

import asyncio

import pytest

from meshlight.demo.journal import Journal, Seen


def test_counts_go_by_the_beginning_of_a_path() -> None:
    journal = Journal(keep=0)
    for target in ("/v1/models?a=1", "/v1/chat/completions", "/health"):
        journal.arrived(Seen(method="GET", target=target))
    assert (journal.count(), journal.count("/v1/"), journal.count("/api")) == (3, 2, 0)
    assert journal.most_in_flight == 3
    assert len(journal.entries) == 0


async def test_a_wait_ends_when_what_it_waits_for_comes() -> None:
    journal = Journal()
    seen = Seen(method="GET", target="/")
    waiting = asyncio.ensure_future(journal.until(lambda: journal.count_left() == 1, str, 5))
    await asyncio.sleep(0)
    journal.arrived(seen)
    journal.ended(seen, client_left=True)
    await waiting
    assert seen.left_at == seen.ended_at


async def test_a_wait_that_is_over_says_why() -> None:
    with pytest.raises(TimeoutError, match=r"after 0 s: nothing came"):
        await Journal().until(lambda: False, lambda: "nothing came", 0)
