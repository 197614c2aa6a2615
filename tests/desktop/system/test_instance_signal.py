import queue
import socket
import sys
from pathlib import Path

import pytest

from meshlight.desktop.system.instance_signal import ActivationListener, signal_instance


def test_a_ring_is_heard_with_its_text(tmp_path: Path) -> None:
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()
    with ActivationListener(tmp_path, "tray", heard.put):
        assert signal_instance(tmp_path, "tray", "box")
        assert heard.get(timeout=5) == "box"
        assert signal_instance(tmp_path, "tray")
        assert heard.get(timeout=5) == ""


def test_nobody_hears_where_there_is_no_bell_or_one_of_another_name(tmp_path: Path) -> None:
    assert not signal_instance(tmp_path, "tray")
    with ActivationListener(tmp_path, "tray", lambda _: None):
        assert not signal_instance(tmp_path, "window")


def test_the_bell_of_one_that_was_killed_is_taken_over(tmp_path: Path) -> None:
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()
    with (
        ActivationListener(tmp_path, "tray", lambda _: None),
        ActivationListener(tmp_path, "tray", heard.put),
    ):
        assert signal_instance(tmp_path, "tray", "x")
        assert heard.get(timeout=5) == "x"


@pytest.mark.skipif(sys.platform == "win32", reason="there are no paths of sockets there")
def test_a_folder_with_a_long_name_has_a_bell_too(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 40)
    folder.mkdir()
    heard: queue.SimpleQueue[str] = queue.SimpleQueue()
    with ActivationListener(folder, "tray", heard.put):
        assert signal_instance(folder, "tray", "x")
    assert not signal_instance(tmp_path, "tray")


@pytest.mark.skipif(sys.platform == "win32", reason="there are no paths of sockets there")
def test_one_who_rings_and_says_nothing_does_not_keep_others_out(tmp_path: Path) -> None:
    with ActivationListener(tmp_path, "tray", lambda _: None), socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(tmp_path / "tray.bell"))
        silent.close()
        assert signal_instance(tmp_path, "tray", "x")
