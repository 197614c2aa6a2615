import os
from collections.abc import Callable
from pathlib import Path

import pytest

from meshlight.domain.config import Config
from meshlight.domain.errors import ConfigError
from meshlight.storage.config.file import ConfigFile
from meshlight.storage.config.watcher import ConfigWatch
from storage.memory_storage import ring_for


class Call:
    """A call for later that can be cancelled."""

    def __init__(self, delay_s: float, call: Callable[[], None]) -> None:
        self.delay_s = delay_s
        self.call = call
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Scene:
    """A file, a watch over it, and a loop whose time a test moves on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls: list[Call] = []
        self.told: list[Config | ConfigError] = []
        self.file = ConfigFile(path, ring_for)
        self.watch = ConfigWatch(self.file, self.later, self.tell)

    def later(self, delay_s: float, call: Callable[[], None]) -> Call:
        self.calls.append(Call(delay_s, call))
        return self.calls[-1]

    def tell(self, news: Config | ConfigError) -> None:
        self.told.append(news)

    def save(self, text: str) -> None:
        self.path.write_text(text)
        os.utime(self.path)

    def step(self) -> float:
        [call] = [each for each in self.calls if not each.is_cancelled]
        self.calls.remove(call)
        call.call()
        return call.delay_s

    def settle(self) -> list[Config | ConfigError]:
        for _ in range(3):
            self.step()
        told, self.told = self.told, []
        return told


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    scene = Scene(tmp_path / "config.toml")
    scene.save("port = 7000\n")
    scene.file.load()
    scene.watch.start()
    return scene


def ports(told: list[Config | ConfigError]) -> list[int | None]:
    return [news.port if isinstance(news, Config) else news.line for news in told]


def test_nothing_is_told_of_a_file_that_nobody_touches(scene: Scene) -> None:
    assert scene.settle() == []
    assert [scene.step() for _ in range(3)] == 3 * [pytest.approx(5 / 3)]


def test_a_saved_file_is_told_of_once_within_two_seconds(scene: Scene) -> None:
    scene.save("port = 7001\n")
    waited = scene.step() + scene.step()
    assert waited < 2
    assert ports(scene.told) == [7001]
    scene.told.clear()
    assert scene.settle() == []


def test_a_file_is_read_only_when_it_has_come_to_rest(scene: Scene) -> None:
    scene.save("port = 70")
    scene.step()
    scene.save("port = 7002\n[rou")
    scene.step()
    scene.save("port = 7002\n[routing]\n")
    assert ports(scene.settle()) == [7002]


def test_a_broken_file_is_told_of_once_and_a_mended_one_again(scene: Scene) -> None:
    scene.save("port = 7000\nprot = 1\n")
    assert ports(scene.settle()) == [2]
    assert scene.settle() == []
    assert scene.file.last_good.port == 7000
    scene.save("port = 7003\n")
    assert ports(scene.settle()) == [7003]


def test_an_editor_that_puts_another_file_in_place_is_noticed(scene: Scene, tmp_path: Path) -> None:
    new = tmp_path / "config.toml~"
    new.write_text("port = 7004\n")
    new.replace(scene.path)
    assert ports(scene.settle()) == [7004]


def test_an_editor_that_deletes_first_gives_no_alarm(scene: Scene) -> None:
    scene.path.unlink()
    scene.step()
    scene.save("port = 7005\n")
    assert ports(scene.settle()) == [7005]


def test_a_deleted_file_is_told_of_and_changes_nothing(scene: Scene) -> None:
    scene.path.unlink()
    [news] = scene.settle()
    assert isinstance(news, ConfigError)
    assert "is gone" in news.title
    assert scene.file.last_good.port == 7000
    assert scene.settle() == []
    scene.save("port = 7000\n")
    assert ports(scene.settle()) == [7000]


def test_a_file_that_comes_up_later_is_noticed(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "config.toml")
    scene.file.load()
    scene.watch.start()
    assert scene.settle() == []
    scene.save("port = 7006\n")
    assert ports(scene.settle()) == [7006]


def test_what_the_service_has_written_itself_is_no_news(scene: Scene) -> None:
    scene.file.set_value("port", 7007)
    assert scene.settle() == []


def test_a_listener_that_fails_does_not_end_the_watch(scene: Scene) -> None:
    def fail(_: Config | ConfigError) -> None:
        raise RuntimeError("listener")

    scene.watch._on_change = fail
    scene.save("port = 7008\n")
    scene.step()
    with pytest.raises(RuntimeError, match="listener"):
        scene.step()
    scene.watch._on_change = scene.tell
    scene.save("port = 7009\n")
    assert ports(scene.settle()) == [7009]


def test_a_stopped_watch_asks_for_no_more_calls(scene: Scene) -> None:
    scene.watch.start()
    scene.watch.stop()
    scene.watch.stop()
    assert [call for call in scene.calls if not call.is_cancelled] == []
