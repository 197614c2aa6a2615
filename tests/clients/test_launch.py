"""`meshlight launch`: the apps themselves, as npm has them, with one real request each; and their settings files."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from clients.agents import MODULES, NOWHERE, run_at_home
from meshlight.domain.config import Runtime
from meshlight.simulator.engine import SimulatedEngine
from node import Node

MODEL = "llama-3.2-3b"
PROGRAMS = MODULES / ".bin"
QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_MODELS_FETCH": "1",
}
CASES = {
    "claude": ("-p", "Say hello."),
    "codex": ("exec", "--skip-git-repo-check", "-c", "analytics.enabled=false", "Say hello."),
    "opencode": ("run", "Say hello."),
}
FILES = {"claude": ".claude/settings.json", "codex": ".codex/config.toml"}


def engine_of_agents() -> SimulatedEngine:
    """Return an engine that answers quickly, with room for an agent's instructions."""
    return SimulatedEngine("llamacpp", "a", context=131_072, speed=10_000.0, length=5)


async def run(command: Sequence[str], home: Path, node: Node) -> tuple[int, str]:
    """Run a command with a home of its own, on loopback alone; return its exit code and all its output."""
    if sys.platform == "win32" or not (PROGRAMS / "opencode").exists():
        pytest.skip("the agents are not here: packaging/dev.py test installs them where process groups are")
    state = {"MESHLIGHT_HOME": str(node.config_file.parent), "ANTHROPIC_API_KEY": "sk-of-another-account"}
    path = {"PATH": f"{PROGRAMS}:{os.environ['PATH']}"}
    code, out, said = await run_at_home(command, home, {**QUIET, **state, **path})
    return code, (out + said).decode()


async def launch(node: Node, home: Path, *words: str) -> str:
    """Type `meshlight launch` and these words; return what is printed."""
    runtime = Runtime(
        url=node.url,
        pid=os.getpid(),
        instance=node.service.instance,
        key_file=str(node.config_file.parent / "local.key"),
        version="1",
    )
    (node.config_file.parent / "runtime.json").write_bytes(msgspec.json.encode(runtime))
    code, out = await run([sys.executable, "-P", "-m", "meshlight", "launch", *words], home, node)
    assert code == 0, out
    return out


@pytest.mark.parametrize("app", CASES)
async def test_an_app_is_answered_and_leaves_its_settings_as_they_were(app: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    if app == "claude":  # settings of its own that lead elsewhere
        (home / ".claude").mkdir(parents=True)
        elsewhere = {
            "ANTHROPIC_BASE_URL": NOWHERE,
            "ANTHROPIC_AUTH_TOKEN": "other",
            "ANTHROPIC_MODEL": "other",
        }
        (home / FILES[app]).write_text(json.dumps({"env": elsewhere}))
    async with engine_of_agents() as engine, Node(tmp_path / "node", [engine]) as node:
        await node.http.get("/mesh/apps")  # somebody waits for the first request
        out = await launch(node, home, app, "--", *CASES[app])
        assert f"uses {MODEL}" in out
        assert node.key not in out
        assert len(engine.calls()) >= 1
        apps = (await node.http.get("/mesh/apps")).json()["apps"]
        assert [one["id"] for one in apps if one["called_s"] is not None] == [app]
    left = home / FILES.get(app, ".config/opencode/opencode.json")
    assert not left.exists() or node.key not in left.read_text()


@pytest.mark.parametrize("app", FILES)
async def test_written_settings_are_read_by_the_app_itself_and_restored(app: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    file = home / FILES[app]
    file.parent.mkdir(parents=True)
    mine = '{\n\t"theme": "dark"\n}' if app == "claude" else "# mine\n[tui]\nnotifications = false\n"
    file.write_text(mine)
    async with engine_of_agents() as engine, Node(tmp_path / "node", [engine]) as node:
        out = await launch(node, home, app, "--config", "--yes")
        assert node.key not in out
        assert node.key in file.read_text()
        assert file.stat().st_mode & 0o777 == 0o600
        code, out = await run([str(PROGRAMS / app), *CASES[app]], home, node)
        assert (code, len(engine.calls()) >= 1) == (0, True), out
        await launch(node, home, app, "--restore")
    assert file.read_text() == mine
