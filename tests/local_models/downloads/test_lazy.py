"""Downloads whose code is loaded when somebody asks for one."""

from local_models.fake_parts import FakeDownloads
from meshlight.local_models.downloads.lazy import LazyDownloads
from meshlight.local_models.interfaces import Downloads


class Made:
    """Counts what was made."""

    def __init__(self) -> None:
        self.all: list[FakeDownloads] = []

    def __call__(self) -> Downloads:
        self.all.append(FakeDownloads())
        return self.all[-1]


async def test_nothing_is_made_while_nobody_asks() -> None:
    made = Made()
    downloads = LazyDownloads(made, lambda: False)
    downloads.start()
    assert downloads.views() == ()
    await downloads.close()
    assert made.all == []


async def test_what_was_left_goes_on_and_all_is_handed_over() -> None:
    made = Made()
    downloads = LazyDownloads(made, lambda: True)
    downloads.start()
    [real] = made.all
    assert real.started.is_set()
    assert (downloads.starters(), downloads.views()) == ((), ())
    states = [
        (await downloads.pull("a")).state,
        (await downloads.pause("1")).state,
        (await downloads.resume("1")).state,
    ]
    assert states == ["queued", "paused", "queued"]
    assert (await downloads.repository("a/b")).name == "a/b"
    await downloads.cancel("1")
    await downloads.close()
    assert real.is_closed
    assert len(made.all) == 1
