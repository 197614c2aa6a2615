import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from meshlight.api_client.client import ApiClient
from meshlight.cli.demo import DEMO_PORT, config, secrets
from meshlight.cli.ports import free_port
from meshlight.domain.backend import Kind, Ring
from meshlight.domain.config import DEFAULT_PORT
from meshlight.domain.peers import LAN_PORT, PAIRING_PORT
from meshlight.simulator.scenario import Scenario
from meshlight.storage.config.file import ConfigFile

Type = Callable[..., Any]
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C can't be sent to one process there")


class Running(Struct, frozen=True):
    """A demo, what it has said so far, and where its things are."""

    process: subprocess.Popen[str]
    said: str
    home: Path
    temporary: Path


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    own = tmp_path / "own"
    environ = {**os.environ, "TMPDIR": str(temporary), "MESHLIGHT_HOME": str(own), "COLUMNS": "100"}
    process = subprocess.Popen(
        [sys.executable, "-m", "meshlight", "demo", "--port", str(free_port())],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    said = ""
    try:
        for line in process.stdout:
            said += line
            if "Ctrl-C ends" in line:
                break
        else:
            pytest.fail(f"The demo ended: {said} {process.stderr.read()}")
        [home] = temporary.iterdir()
        yield Running(process, said, home, temporary)
        assert not own.exists()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def test_the_demo_shows_itself_answers_and_leaves_nothing_behind(
    running: Running, type_words: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Demo Ollama" in running.said
    assert "/?code=" in running.said
    assert "why each one went where it did" in running.said
    assert f"export MESHLIGHT_HOME='{running.home}'" in running.said
    monkeypatch.setenv("MESHLIGHT_HOME", str(running.home))
    assert type_words("refresh").code == 0
    status = type_words("status")
    assert status.code == 0
    assert "● healthy  Demo vLLM" in status.out
    assert "(flaky)" in status.out
    models = type_words("models").out
    assert "gemma3:4b" in models
    test_model = type_words("test", "llama-3.2-3b", "--count", "1")
    assert test_model.code == 0
    assert "demo" in test_model.lines[-1]
    running.process.send_signal(signal.SIGINT)
    out, err = running.process.communicate(timeout=30)
    assert (running.process.returncode, out.splitlines()[-1:], err) == (0, ["The demo has ended."], "")
    assert list(running.temporary.iterdir()) == []


def test_a_demo_that_is_killed_takes_its_service_with_it(running: Running) -> None:
    with ApiClient.connect(running.home / "runtime.json") as service:
        events = service.events()
        next(events)
        running.process.kill()
        with pytest.raises(Exception, match=r"stopped|doesn't answer"):
            list(events)


def test_a_port_that_is_taken_is_said(type_words: Type) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        said = type_words("demo", "--port", str(port))
    assert said.err.startswith(f"Error: Port {port} is taken.")


def test_the_demo_runs_beside_a_service_with_paired_machines() -> None:
    assert DEMO_PORT not in {DEFAULT_PORT, LAN_PORT, PAIRING_PORT}


async def test_the_demos_configuration_is_one_that_the_service_takes(tmp_path: Path) -> None:
    def machine(_kind: Kind, _url: str) -> Ring:
        return "machine"

    async with Scenario(0) as scenario:
        (tmp_path / "config.toml").write_text(config(7000, scenario.backends))
        read = ConfigFile(tmp_path / "config.toml", machine).load()
        assert read.port == 7000
        assert read.discovery.enabled is False
        assert read.lan.browse is read.lan.visible is False
        assert [(b.id, b.name, b.kind, b.url, b.ring, b.access_key, b.slots) for b in read.backends] == [
            (h.id, h.name, h.kind, h.url, h.ring, h.access_key, h.slots) for h in scenario.backends
        ]
        text = (tmp_path / "config.toml").read_text()
        assert len(secrets(scenario.backends)) == 4
        assert not any(secret in text for secret in secrets(scenario.backends).values())


def test_the_demo_has_everything_from_near_to_far_and_all_of_it_is_healthy(
    running: Running, type_words: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("Demo Backend.AI", "Demo Continuum", "Demo OpenAI", "Demo Anthropic"):
        assert name in running.said
    monkeypatch.setenv("MESHLIGHT_HOME", str(running.home))
    assert type_words("refresh").code == 0
    backends = json.loads(type_words("status", "--json").out)["backends"]
    assert {b["health"]["state"] for b in backends} == {"healthy"}
    assert Counter(b["ring"] for b in backends) == {"machine": 5, "company": 2, "cloud": 3}
    assert all(b["name"].startswith("Demo ") for b in backends)
    for model in ("llama-3.3-70b", "gpt-5-mini", "claude-sonnet-4-6", "gemini-3-flash"):
        test_model = type_words("test", model, "--count", "1")
        assert test_model.code == 0
        assert "demo" in test_model.lines[-1].lower()
