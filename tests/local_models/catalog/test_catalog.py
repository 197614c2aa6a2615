"""The list of models in time: looks, changes, settings."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fake_clock import Clock
from local_models.catalog.model_files import write_gguf
from local_models.catalog.test_header_cache import Memory
from meshlight.domain.config import LocalSettings
from meshlight.local_models.catalog.catalog import CLOSELY_S, SELDOM_S, Catalog
from meshlight.local_models.catalog.stores import Place
from meshlight.local_models.interfaces import Catalog as CatalogProtocol


class Setup:
    """A catalog of one folder on a clock that stands still; counts looks and changes."""

    def __init__(self, folder: Path, settings: LocalSettings | None = None) -> None:
        self.folder = folder
        self.clock = Clock()
        self.looks = 0
        self.changes = 0
        self.on_look: Callable[[], None] = lambda: None
        self.settings = settings or LocalSettings()
        self.catalog = Catalog(
            self.settings, self.places, Memory(), self.clock, self.clock.later, self.on_change
        )

    def places(self, settings: LocalSettings) -> Sequence[Place]:
        self.looks += 1
        self.on_look()
        folder = settings.folder or str(self.folder)
        return [Place(store="own", label="Meshlight", folders=(folder,))]

    def on_change(self) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.changes += 1

    def hold_looks(self) -> tuple[threading.Event, threading.Event]:
        """Have each look tell that it has begun, and wait to be let go."""
        begun, go_on = threading.Event(), threading.Event()

        def hold() -> None:
            begun.set()
            go_on.wait(20)

        self.on_look = hold
        return begun, go_on

    def is_missing(self, model: str) -> bool:
        return self.catalog.models[model].is_missing

    async def idle(self) -> None:
        """Wait until no look is under way."""
        while (task := self.catalog._task) is not None:
            await asyncio.wait([task])


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return Setup(tmp_path)


async def test_it_is_what_others_expect(setup: Setup) -> None:
    catalog: CatalogProtocol = setup.catalog
    assert (dict(catalog.models), list(catalog.rejected), list(catalog.stores)) == ({}, [], [])
    assert catalog.find("a") is None


async def test_a_look_finds_models_and_tells_it_once(setup: Setup) -> None:
    write_gguf(setup.folder / "owner" / "repo" / "a-Q4_0.gguf")
    (setup.folder / "bad.gguf").touch()
    await setup.catalog.refresh()
    await setup.catalog.refresh()
    assert list(setup.catalog.models) == ["owner/repo:Q4_0"]
    assert [file.name for file in setup.catalog.rejected] == ["bad.gguf"]
    assert [store.models for store in setup.catalog.stores] == [1]
    assert setup.catalog.find("owner/repo") is setup.catalog.models["owner/repo:Q4_0"]
    assert (setup.looks, setup.changes) == (2, 1)


async def test_nothing_is_looked_at_before_anybody_wants_it(setup: Setup) -> None:
    await setup.idle()
    assert (setup.looks, setup.clock.armed) == (0, [])


async def test_it_looks_at_once_then_seldom_or_closely(setup: Setup) -> None:
    setup.catalog.watch(closely=False)
    setup.clock.pass_time(0)
    await setup.idle()
    assert (setup.looks, setup.clock.armed) == (1, [SELDOM_S])
    setup.clock.pass_time(4)
    setup.catalog.watch(closely=True)
    assert setup.clock.armed == [CLOSELY_S - 4]
    setup.clock.pass_time(CLOSELY_S - 4)
    await setup.idle()
    assert (setup.looks, setup.clock.armed) == (2, [CLOSELY_S])
    setup.catalog.watch(closely=False)
    setup.clock.pass_time(30)
    assert setup.looks == 2
    setup.catalog.watch(closely=True)
    setup.clock.pass_time(0)
    await setup.idle()
    assert setup.looks == 3


async def test_a_file_that_appears_or_goes_shows_at_the_next_look(setup: Setup) -> None:
    setup.catalog.watch(closely=True)
    setup.clock.pass_time(0)
    await setup.idle()
    path = write_gguf(setup.folder / "a.gguf")
    setup.clock.pass_time(CLOSELY_S)
    await setup.idle()
    assert not setup.is_missing("a")
    path.unlink()
    setup.clock.pass_time(CLOSELY_S)
    await setup.idle()
    assert setup.is_missing("a")
    write_gguf(path)
    setup.clock.pass_time(CLOSELY_S)
    await setup.idle()
    assert not setup.is_missing("a")
    assert setup.changes == 4  # the empty store counts too


async def test_all_who_ask_during_a_look_share_the_next(setup: Setup) -> None:
    begun, go_on = setup.hold_looks()
    first = asyncio.create_task(setup.catalog.refresh())
    await asyncio.to_thread(begun.wait, 20)
    write_gguf(setup.folder / "new.gguf")
    others = [asyncio.create_task(setup.catalog.refresh()) for _ in range(20)]
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, *others)
    assert setup.looks == 2
    assert list(setup.catalog.models) == ["new"]


async def test_a_deleted_model_is_forgotten(setup: Setup) -> None:
    path = write_gguf(setup.folder / "a.gguf")
    await setup.catalog.refresh()
    path.unlink()
    setup.catalog.forget("a")
    assert setup.catalog.find("a") is None
    assert not setup.catalog.models
    await setup.catalog.refresh()
    assert not setup.catalog.models
    setup.catalog.forget("a")
    write_gguf(path)
    await setup.catalog.refresh()
    assert list(setup.catalog.models) == ["a"]


async def test_a_model_forgotten_too_early_comes_back(setup: Setup) -> None:
    write_gguf(setup.folder / "a.gguf")
    await setup.catalog.refresh()
    setup.catalog.forget("a")
    await setup.catalog.refresh()
    assert list(setup.catalog.models) == ["a"]


async def test_switched_off_it_never_looks(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a.gguf")
    setup = Setup(tmp_path, LocalSettings(enabled=False))
    setup.catalog.watch(closely=True)
    await setup.catalog.refresh()
    assert (setup.looks, setup.clock.armed, dict(setup.catalog.models)) == (0, [], {})
    setup.catalog.follow(LocalSettings())
    setup.clock.pass_time(0)
    await setup.idle()
    assert list(setup.catalog.models) == ["a"]
    setup.catalog.follow(LocalSettings(enabled=False))
    assert (dict(setup.catalog.models), setup.clock.armed, setup.changes) == ({}, [], 2)


async def test_other_folders_are_looked_at_at_once(setup: Setup, tmp_path: Path) -> None:
    write_gguf(setup.folder / "a.gguf")
    write_gguf(tmp_path / "other" / "b.gguf")
    setup.catalog.watch(closely=False)
    setup.clock.pass_time(0)
    await setup.idle()
    setup.catalog.follow(LocalSettings(folder=str(tmp_path / "other")))
    setup.clock.pass_time(0)
    await setup.idle()
    assert list(setup.catalog.models) == ["b"]


async def test_settings_of_other_things_change_nothing(setup: Setup) -> None:
    setup.catalog.watch(closely=False)
    setup.clock.pass_time(0)
    await setup.idle()
    setup.catalog.follow(LocalSettings(idle_s=5))
    setup.clock.pass_time(1)
    assert (setup.looks, setup.clock.armed) == (1, [SELDOM_S - 1])


async def test_a_look_at_the_old_folders_does_not_count(setup: Setup, tmp_path: Path) -> None:
    write_gguf(tmp_path / "other" / "b.gguf")
    begun, go_on = setup.hold_looks()
    running = asyncio.create_task(setup.catalog.refresh())
    await asyncio.to_thread(begun.wait, 20)
    setup.catalog.follow(LocalSettings(folder=str(tmp_path / "other")))
    go_on.set()
    await running
    assert list(setup.catalog.models) == ["b"]


async def test_switched_off_during_a_look_nothing_is_found(setup: Setup) -> None:
    write_gguf(setup.folder / "a.gguf")
    begun, go_on = setup.hold_looks()
    running = asyncio.create_task(setup.catalog.refresh())
    await asyncio.to_thread(begun.wait, 20)
    setup.catalog.follow(LocalSettings(enabled=False))
    go_on.set()
    await running
    assert not setup.catalog.models


async def test_an_error_of_ours_does_not_end_the_looking(
    setup: Setup, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        setup.on_look = lambda: None
        raise ZeroDivisionError

    write_gguf(setup.folder / "a.gguf")
    setup.on_look = fail
    setup.catalog.watch(closely=False)
    await setup.catalog.refresh()
    assert "could not look for models" in caplog.text
    setup.clock.pass_time(SELDOM_S)
    await setup.idle()
    assert list(setup.catalog.models) == ["a"]


async def test_closed_it_looks_no_more(setup: Setup) -> None:
    begun, go_on = setup.hold_looks()
    setup.catalog.watch(closely=True)
    running = asyncio.create_task(setup.catalog.refresh())
    await asyncio.to_thread(begun.wait, 20)
    setup.catalog.close()
    await running  # whoever waits is let go, though the thread still looks
    go_on.set()
    await setup.catalog.refresh()
    assert (setup.looks, setup.clock.armed) == (1, [])


async def test_paths_with_spaces_and_other_scripts(tmp_path: Path) -> None:
    setup = Setup(tmp_path / "내 모델 und mehr")
    write_gguf(setup.folder / "모델 🚀 mit Raum-Q4_0.gguf")
    await setup.catalog.refresh()
    assert list(setup.catalog.models) == ["모델 🚀 mit Raum-Q4_0"]
    setup.catalog.close()
