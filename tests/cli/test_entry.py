import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

from meshlight.cli.entry import plain_serve
from meshlight.cli.serve import serve

PLAIN = [
    [],
    ["--quiet"],
    ["--port", "6400", "--no-discovery", "--quiet", "--log-level", "warning"],
    ["--port=0", "--config=here.toml", "--insecure-storage"],
    ["--port", "1", "--port", "65535"],
    ["--config", "no such folder/x.toml", "--quiet", "--quiet"],
]
OTHERS = [
    ["--help"],
    ["--port", "65536"],
    ["--port", "-1"],
    ["--port", "٣"],
    ["--port", "1e3"],
    ["--port"],
    ["--config", "."],
    ["--config", ""],
    ["--config", "--quiet"],
    ["--log-level", "loud"],
    ["--log-level=Debug"],
    ["--quie"],
    ["--quiet=yes"],
    ["--", "--quiet"],
    ["more"],
]


def as_click_reads(words: list[str]) -> dict[str, Any]:
    return {key: value for key, value in serve.make_context("serve", list(words)).params.items() if value}


@pytest.mark.parametrize("words", PLAIN, ids=" ".join)
def test_a_plain_command_line_is_read_as_click_reads_it(words: list[str]) -> None:
    given = plain_serve(["serve", *words])
    assert given is not None
    by_click = as_click_reads(words)
    names: dict[str, Any] = {
        name.removeprefix("--").replace("-", "_"): value or True for name, value in given.items()
    }
    if "config" in names:
        names["config"] = Path(names["config"])
    if "port" in names:
        names["port"] = int(names["port"])
    assert {key: value for key, value in ({"log_level": "info"} | names).items() if value} == by_click


@pytest.mark.parametrize("words", OTHERS, ids=" ".join)
def test_what_is_not_plain_is_left_to_click(words: list[str]) -> None:
    assert plain_serve(["serve", *words]) is None


@pytest.mark.parametrize("words", [[], ["status"], ["--version"], ["tray", "--quiet"]], ids=" ".join)
def test_another_command_is_left_to_click(words: list[str]) -> None:
    assert plain_serve(words) is None


def test_every_option_of_the_command_is_read() -> None:
    options = [option for param in serve.params if isinstance(param, click.Option) for option in param.opts]
    for option in options:
        value = {"--port": ["1"], "--config": ["x"], "--log-level": ["info"]}.get(option, [])
        assert plain_serve(["serve", option, *value]) is not None, option


def test_the_service_carries_nothing_of_the_command_line_and_the_control_api(tmp_path: Path) -> None:
    program = (
        "import sys; from meshlight.cli.entry import plain_serve; plain_serve(['serve']);"
        "import meshlight.service.process; early = {'asyncio', 'ssl', 'meshlight.backends'} & set(sys.modules);"
        "import meshlight.service.running; early |= {'meshlight.service.wiring'} & set(sys.modules);"
        "import meshlight.service.wiring, meshlight.service.local_parts;"
        "print([m for m in ('click', 'rich', 'httpx', 'keyring', 'litestar', 'tomlkit', 'email', 'html', 'difflib',"
        " 'statistics', 'multiprocessing', 'importlib.metadata', 'cryptography', 'zeroconf', 'pickle',"
        " *('meshlight.gateway.translation.' + name for name in ('anthropic.api', 'ollama.generate', 'ollama.embed',"
        " 'responses.api', 'responses.native'))) if m in sys.modules], early)"
    )
    environ = {name: value for name, value in os.environ.items() if not name.startswith("COV")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path, env=environ
    )
    assert done.stdout.strip() == "[] set()"


def test_the_service_starts_by_the_entry_point(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("port = 'no number'")
    done = subprocess.run(
        [sys.executable, "-m", "meshlight", "serve", "--port", "70000"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "MESHLIGHT_HOME": str(tmp_path)},
    )
    assert done.returncode == 2
    assert "65535" in done.stderr
