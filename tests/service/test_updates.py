import pytest

from fake_clock import Clock
from meshlight.domain.settings_views import UpdateView
from meshlight.service.updates import DAY_S, FEED_BYTES, FIRST_S, UpdateCheck, newest, project_url

FEED = """<?xml version="1.0"?><feed><title>Release notes from meshlight</title>
<entry><title>v0.2.1</title></entry><entry><title type="html">Meshlight 0.3.0-rc1</title></entry>
<entry><title>Meshlight 0.2.0</title></entry></feed>"""


class Feed:
    """A release feed that a test writes."""

    def __init__(self) -> None:
        self.text = FEED
        self.read: list[tuple[str, int]] = []

    async def __call__(self, url: str, limit: int) -> bytes:
        self.read.append((url, limit))
        if not self.text:
            raise OSError("no network")
        return self.text.encode()


@pytest.mark.parametrize(
    ("feed", "version"),
    [
        (FEED, (0, 2, 1)),
        ("<title>1.10</title><title>1.9.9</title>", (1, 10, 0)),
        ("<title>nothing here</title>", None),
        ("<title>1.2.3.4</title><title>v999999.1.1</title>", None),
        ("<title>" * 100_000, None),
    ],
)
def test_the_newest_release_is_found_and_what_comes_before_one_does_not_count(
    feed: str, version: tuple[int, ...] | None
) -> None:
    assert newest(feed) == version


async def test_it_looks_once_a_day_while_it_is_on_and_never_otherwise() -> None:
    clock, feed, changes = Clock(), Feed(), []
    check = UpdateCheck(
        feed, clock.later, lambda: changes.append(check.update), feed="http://x", version="0.1.0"
    )
    clock.pass_time(10 * DAY_S)
    assert clock.armed == []
    check.switch(on=True)
    check.switch(on=True)
    assert clock.armed == [FIRST_S]
    await check.look()
    assert check.update == UpdateView(version="0.2.1", url=project_url("Changelog"))
    await check.look()
    assert len(changes) == 1
    assert feed.read == 2 * [("http://x", FEED_BYTES)]
    check.switch(on=False)
    assert clock.armed == []
    assert changes[1:] == [None]


async def test_the_timer_begins_the_next_look() -> None:
    clock, feed = Clock(), Feed()
    check = UpdateCheck(feed, clock.later, lambda: None, feed="http://x", version="0.1.0")
    check.switch(on=True)
    clock.pass_time(FIRST_S)
    assert clock.armed == [DAY_S]
    check.close()
    assert clock.armed == []


async def test_a_feed_that_can_not_be_read_changes_nothing_and_an_old_one_says_nothing() -> None:
    clock, feed = Clock(), Feed()
    check = UpdateCheck(feed, clock.later, lambda: None, feed="http://x", version="0.2.1")
    await check.look()
    feed.text = "<title>0.9.0</title>"
    await check.look()
    feed.text = ""
    await check.look()
    assert check.update == UpdateView(version="0.9.0", url=project_url("Changelog"))


def test_without_a_feed_there_is_nothing_to_look_at() -> None:
    clock = Clock()
    check = UpdateCheck(Feed(), clock.later, lambda: None, feed="")
    check.switch(on=True)
    assert clock.armed == []
