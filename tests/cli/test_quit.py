import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from meshlight.cli.quit import end_all
from meshlight.desktop.system.instance_signal import QUIT, ActivationListener
from meshlight.domain.errors import MeshlightError
from meshlight.storage.instance import Started, start_alone
from meshlight.storage.paths import Paths
from process_fixture import Home, wait_until

Type = Callable[..., Any]


def _nothing() -> None:
    """Stand for a machine without systemd."""


@pytest.mark.parametrize("words", [(), ("--wait",), ("--wait", "5")])
def test_where_nothing_runs_nothing_is_made(words: tuple[str, ...], type_words: Type, tmp_path: Path) -> None:
    said = type_words("quit", *words)
    assert (said.code, said.out) == (0, "Meshlight does not run.\n")
    assert list(tmp_path.iterdir()) == []


def test_a_service_ends_gracefully_and_its_end_is_awaited(tmp_path: Path) -> None:
    home = Home(tmp_path)
    with home.start("serve", "--quiet") as process:
        try:
            wait_until(home.runtime_file.exists)
            paths = Paths.under(config_dir=tmp_path, state_dir=tmp_path, log_dir=tmp_path)
            assert end_all(paths, stop_service_unit=_nothing) == ["service"]
            assert process.wait(5) == 0
        finally:
            process.kill()


def test_a_tray_and_a_window_are_asked_first(tmp_path: Path) -> None:
    paths = Paths.under(config_dir=tmp_path, state_dir=tmp_path, log_dir=tmp_path)
    asked: list[str] = []
    held = {name: start_alone(tmp_path / f"{name}.lock") for name in ("tray", "window")}

    def on_message(name: str, text: str) -> None:
        asked.append(f"{name} {text}")
        lock = held[name]
        assert isinstance(lock, Started)
        lock.release()

    with (
        ActivationListener(tmp_path, "tray", lambda text: on_message("tray", text)),
        ActivationListener(tmp_path, "window", lambda text: on_message("window", text)),
    ):
        assert end_all(paths, stop_service_unit=_nothing) == ["tray", "window"]
    assert asked == [f"tray {QUIT}", f"window {QUIT}"]


def test_a_window_that_has_just_started_is_asked_until_it_hears(tmp_path: Path) -> None:
    paths = Paths.under(config_dir=tmp_path, state_dir=tmp_path, log_dir=tmp_path)
    lock = start_alone(tmp_path / "window.lock")
    assert isinstance(lock, Started)
    listeners: list[ActivationListener] = []

    def listen_now(_: float) -> None:
        if not listeners:
            listeners.append(ActivationListener(tmp_path, "window", lambda _: lock.release()))

    assert end_all(paths, stop_service_unit=_nothing, pause=listen_now) == ["window"]
    listeners[0].close()


def test_what_does_not_end_is_told(tmp_path: Path) -> None:
    paths = Paths.under(config_dir=tmp_path, state_dir=tmp_path, log_dir=tmp_path)
    lock = start_alone(tmp_path / "tray.lock")
    assert isinstance(lock, Started)
    pauses: list[float] = []
    with lock, pytest.raises(MeshlightError, match="The tray still runs"):
        end_all(paths, 1.0, stop_service_unit=_nothing, pause=pauses.append)
    assert len(pauses) == 10


def test_the_unit_is_stopped_before_all_else(tmp_path: Path) -> None:
    stopped = threading.Event()
    paths = Paths.under(config_dir=tmp_path, state_dir=tmp_path, log_dir=tmp_path)
    assert end_all(paths, stop_service_unit=stopped.set) == []
    assert stopped.is_set()
