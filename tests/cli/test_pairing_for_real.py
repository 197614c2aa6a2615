"""Two whole services on this machine are paired, used and unpaired by their words alone."""

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from meshlight.cli.ports import free_port
from meshlight.desktop.system.process import program
from meshlight.simulator.engine import SimulatedEngine
from process_fixture import Home, wait_until

WAIT_S = 30.0


class Desk:
    """One of two machines."""

    def __init__(self, folder: Path, name: str, *lines: str) -> None:
        self.door = free_port()
        lan = f"[lan]\nbrowse = false\nport = {free_port()}\ndoor = {self.door}"
        self._home = Home(folder, lan, *lines)
        config = folder / "config.toml"
        config.write_text(f'name = "{name}"\n{config.read_text()}')
        self._service = self._home.start("serve", "--quiet", "--insecure-storage")

    def types(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            program(*words),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self._home.environ,
            timeout=WAIT_S,
            check=False,
        )

    def starts(self, *words: str) -> "subprocess.Popen[str]":
        return self._home.start(*words)

    def peers(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.types("peers", "--json").stdout)
        return found

    def models(self) -> set[str]:
        return {model["id"] for model in json.loads(self.types("models", "--json").stdout)}

    def until_up(self) -> None:
        wait_until(lambda: self._home.runtime_file.exists() and self._home.answers(), WAIT_S)

    def end(self) -> None:
        self._service.terminate()
        self._service.communicate(timeout=WAIT_S)


@pytest.fixture
async def desks(tmp_path: Path) -> AsyncIterator[tuple[Desk, Desk]]:
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(SimulatedEngine("llamacpp", "studio", control_port=None))
        backend = f'[[backends]]\nname = "studio"\nkind = "llamacpp"\nurl = "{engine.url}"\nring = "machine"'
        both = Desk(tmp_path / "a", "attic"), Desk(tmp_path / "b", "cellar", backend)
        for desk in both:
            stack.push_async_callback(asyncio.to_thread, desk.end)
        for desk in both:
            await asyncio.to_thread(desk.until_up)
        yield both


async def test_two_machines_are_paired_by_their_digits_and_use_each_other_until_one_ends_it(
    desks: tuple[Desk, Desk],
) -> None:
    await asyncio.to_thread(_pair_use_unpair, *desks)


def _pair_use_unpair(attic: Desk, cellar: Desk) -> None:
    accepting = cellar.starts("pair", "--accept", "--visible")
    wait_until(lambda: cellar.peers()["door"] == cellar.door, WAIT_S)
    asked = attic.types("pair", f"127.0.0.1:{cellar.door}")
    assert asked.returncode == 3, asked.stdout + asked.stderr
    pairing = cellar.peers()["pairing"]
    digits = pairing["digits"]
    assert pairing["name"] == "attic"
    assert f"\n  {digits[:3]} {digits[3:]}\n" in asked.stdout

    confirmed = attic.starts("pair", "--yes-digits", digits)
    assert cellar.types("pair", "--yes-digits", digits).returncode == 0
    for process, name in ((confirmed, "cellar"), (accepting, "attic")):
        said, _ = process.communicate(timeout=WAIT_S)
        assert process.returncode == 0, said
        assert f"\n  {digits[:3]} {digits[3:]}\n" in said
        assert f"Paired with {name}." in said
    assert not cellar.peers()["visible"]  # only for as long as it waited

    wait_until(lambda: bool(attic.models()), WAIT_S)
    assert attic.models() == cellar.models() != set()
    assert attic.types("peers", "share", "cellar", "--pause").returncode == 0
    assert "paused" in attic.types("peers").stdout

    assert cellar.types("unpair", "attic").returncode == 0
    wait_until(lambda: attic.peers()["peers"] == [], WAIT_S)
    assert attic.models() == set()
    assert cellar.peers()["peers"] == []
