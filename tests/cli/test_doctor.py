import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from api_client.local_api import LocalApi
from desktop.samples import scenario
from meshlight.cli.doctor import program_file
from meshlight.cli.ports import free_port

Type = Callable[..., Any]
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes")


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def port(tmp_path: Path) -> int:
    """A free port that the configuration names."""
    found = free_port()
    (tmp_path / "config.toml").write_text(f"port = {found}\n")
    return found


def test_a_lane_that_is_switched_off_is_told(port: int, tmp_path: Path, type_words: Type) -> None:
    assert not any("`lane = false`" in line for line in type_words("doctor").lines)
    (tmp_path / "config.toml").write_text(f"port = {port}\nlane = false\n")
    assert any("`lane = false`" in line for line in type_words("doctor").lines)


def test_on_a_fresh_machine_nothing_is_wrong_but_the_service_does_not_run(
    port: int, type_words: Type
) -> None:
    said = type_words("doctor")
    assert said.code == 0
    assert f"✓ Port {port} is free." in said.lines
    assert "! Meshlight isn't running." in said.lines
    assert "  Fix: Start it with: meshlight" in said.lines
    assert not [line for line in said.lines if line.startswith("✗")]
    assert max(map(len, said.lines)) <= 80


def test_a_healthy_service_and_its_backends_are_named(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/snapshot", scenario())
    (api.home / "local.key").chmod(0o600)
    api.runtime_file.chmod(0o600)
    said = type_words("doctor")
    assert said.code == 0
    assert f"✓ The service runs at {api.url} (pid 4242, version 0.1.0)." in said.lines
    assert "✓ Ollama answers at http://127.0.0.1:11434 with 3 models." in said.lines
    assert "! Big box is unhealthy: Connection refused at 127.0.0.1:8000" in said.out
    assert "LM Studio" not in said.out


def test_a_broken_configuration_is_named_with_its_line(tmp_path: Path, port: int, type_words: Type) -> None:
    (tmp_path / "config.toml").write_text(f"port = {port}\nrequire_key = maybe\n")
    said = type_words("doctor")
    assert said.code == 1
    assert "line 2" in said.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.toml"]
    problems = [line for line in said.lines if line.startswith("✗")]
    [problem] = [
        line for line in problems if "Port 6374" not in line
    ]  # which another Meshlight may have here
    assert "The configuration" in problem


def test_a_port_in_strange_hands_is_named_with_whose_they_are(port: int, type_words: Type) -> None:
    with socket.create_server(("127.0.0.1", port)):
        said = type_words("doctor")
    assert said.code == 1
    assert f"✗ Port {port} is taken by " in said.out
    if sys.platform == "linux":
        assert f"(pid {os.getpid()})" in said.out.replace("\n  ", " ")


def test_a_stranger_where_the_service_was_is_not_taken_for_it(api: LocalApi, type_words: Type) -> None:
    api.instance = "somebody else"
    said = type_words("doctor")
    assert said.code == 1
    assert "✗ Another program answers at" in said.out


@pytest.mark.usefixtures("port")
def test_a_runtime_file_left_over_is_nothing_to_worry_about(tmp_path: Path, type_words: Type) -> None:
    with LocalApi(tmp_path):
        pass
    for name in ("runtime.json", "local.key"):
        (tmp_path / name).chmod(0o600)
    said = type_words("doctor")
    assert said.code == 0
    assert "! The service isn't running; the last one (pid 4242) was killed and left" in said.out


@posix
@pytest.mark.usefixtures("port")
def test_a_key_that_others_may_read_is_wrong(tmp_path: Path, type_words: Type) -> None:
    (tmp_path / "local.key").write_text("ml-a-key-long-enough")
    (tmp_path / "local.key").chmod(0o644)
    said = type_words("doctor")
    assert said.code == 1
    assert "✗ Other users of this machine can read" in said.out


@posix
@pytest.mark.usefixtures("port")
def test_a_folder_that_others_may_write_is_wrong(tmp_path: Path, type_words: Type) -> None:
    tmp_path.chmod(0o777)
    assert "Other users may write in the folder" in " ".join(type_words("doctor").out.split())


def test_the_findings_come_as_json_too(port: int, type_words: Type) -> None:
    found = json.loads(type_words("doctor", "--json").out)
    assert {"level": "ok", "said": f"Port {port} is free.", "fix": ""} in found


def test_with_a_broken_configuration_the_last_good_one_still_names_the_port(
    tmp_path: Path, port: int, type_words: Type
) -> None:
    (tmp_path / "config.toml").rename(tmp_path / "config.toml.bak")
    (tmp_path / "config.toml").write_bytes(b"\xff\xfe")
    said = type_words("doctor")
    assert said.code == 1
    assert "can't be read" in said.out
    assert f"✓ Port {port} is free." in said.lines


def test_a_port_of_ipv6_in_strange_hands_is_worth_a_look(port: int, type_words: Type) -> None:
    with socket.create_server(("::1", port), family=socket.AF_INET6):
        said = type_words("doctor")
    assert f"Port {port} of [::1] is taken" in " ".join(said.out.split())


def test_what_the_service_says_of_itself_is_worth_a_look(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/snapshot", replace(scenario(), notices=("Port 1 of [::1] is taken.",)))
    assert "Port 1 of [::1] is taken." in type_words("doctor").out


def test_what_the_service_found_is_told_with_one_thing_to_do(api: LocalApi, type_words: Type) -> None:
    api.says("GET", "/mesh/snapshot", scenario())
    common = {"severity": "suffer", "evidence": "It is slow.", "why": "It is hot.", "fix": "Cool it."}
    api.says(
        "GET",
        "/mesh/findings",
        {
            "findings": [
                {"kind": "slow", "button": "check", "backend": "study", **common},
                {"kind": "demand", "command": "meshlight route qwen", **common},
            ]
        },
    )
    said = type_words("doctor")
    assert said.lines.count("! It is slow. It is hot.") == 2
    assert "  Fix: Cool it. Command: meshlight backends check study" in said.lines
    assert "  Fix: Cool it. Command: meshlight route qwen" in said.lines


def test_a_frozen_program_is_as_old_as_its_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert program_file().name == "__init__.py"
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    assert program_file() == Path(sys.executable)
