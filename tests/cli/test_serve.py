import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from meshlight.cli.ports import free_port

Type = Callable[..., Any]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a single process can't be sent Ctrl-C there")


@contextmanager
def started(home: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "meshlight", *words],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "MESHLIGHT_HOME": str(home), "DISPLAY": "", "WAYLAND_DISPLAY": ""},
    )
    assert process.stderr is not None
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def three_lines(process: subprocess.Popen[str]) -> list[str]:
    assert process.stderr is not None
    return [process.stderr.readline() for _ in range(3)]


def test_without_a_word_and_without_a_tray_the_service_runs_and_gives_the_link_until_ctrl_c(
    tmp_path: Path,
) -> None:
    (tmp_path / "config.toml").write_text(f"port = {free_port()}\n[discovery]\nenabled = false\n")
    with started(tmp_path) as service:
        assert service.stderr is not None
        assert "no tray icon" in service.stderr.readline()
        said = three_lines(service)
        assert "/?code=" in said[1]
        assert "Ctrl-C" in said[2]
        with started(tmp_path, "serve") as second:
            _, err = second.communicate(timeout=20)
            assert second.returncode == 3
            assert "running already" in err
        with started(tmp_path) as third:
            _, err = third.communicate(timeout=20)
            assert third.returncode == 0
            assert "Meshlight already runs. This link opens it" in err
        service.send_signal(signal.SIGINT)
        assert service.wait(timeout=20) == 0


def test_the_options_reach_the_service(tmp_path: Path, type_words: Type) -> None:
    config = tmp_path / "mine.toml"
    config.write_text('name = "Mine"\n')
    options = ("--port", "0", "--config", str(config), "--no-discovery", "--log-level", "warning")
    with started(tmp_path, "serve", *options) as service:
        three_lines(service)
        assert json.loads(type_words("status", "--json").out)["router"]["name"] == "Mine"
        service.send_signal(signal.SIGTERM)
        assert service.wait(timeout=20) == 0
    assert type_words("status").code == 4
