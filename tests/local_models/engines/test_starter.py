from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from local_models.engines.test_process import Small
from local_models.engines_here import model_at
from meshlight.domain.config import LocalModelSettings, LocalSettings
from meshlight.domain.local_models import ModelFormat, RunnerName
from meshlight.local_models.engines.leftovers import Leftovers
from meshlight.local_models.engines.starter import Starter
from meshlight.local_models.interfaces import EngineFailed, EngineStarter
from meshlight.local_models.runners.base import FoundRunner, Runner
from meshlight.local_models.runners.table import all_runners

GGUF, MLX, SAFE = (model_at(Path("/m/a"), format=kind) for kind in ("gguf", "mlx", "safetensors"))


class Server(Small):
    name: ClassVar[RunnerName] = "llama-server"
    label: ClassVar[str] = "server"


class Apple(Small):
    name: ClassVar[RunnerName] = "mlx"
    label: ClassVar[str] = "apple"
    formats: ClassVar[frozenset[ModelFormat]] = frozenset({"mlx"})


class Opt(Small):
    name: ClassVar[RunnerName] = "vllm"
    label: ClassVar[str] = "opt"
    formats: ClassVar[frozenset[ModelFormat]] = frozenset({"safetensors"})
    is_opt_in: ClassVar[bool] = True


class Wide(Server):
    def slots(self, args: Sequence[str]) -> int:
        return 4 + len(args)


class Absent(Server):
    async def find(self, settings: LocalSettings) -> FoundRunner:  # noqa: ARG002
        return FoundRunner(why_not="It is not installed.", fix="Install it.")


async def starter(*runners: Runner, **settings: Any) -> EngineStarter:
    leftovers = Leftovers(lambda: b"", lambda _: None)
    made = Starter(LocalSettings(**settings), leftovers, {}, asyncio.get_running_loop(), runners=runners)
    await made.find()
    return made


async def test_the_first_that_can_be_used_runs_a_model() -> None:
    made = await starter(Server(""), Small(""), Apple(""), Opt(""))
    assert [made.label_for(model) for model in (GGUF, MLX, SAFE)] == ["server", "apple", ""]
    made.follow(LocalSettings(runner="xllamacpp"))
    assert [made.label_for(model) for model in (GGUF, MLX, SAFE)] == ["small", "apple", ""]
    made.follow(LocalSettings(runner="vllm"))
    assert [made.label_for(model) for model in (GGUF, MLX, SAFE)] == ["server", "apple", "opt"]
    without = await starter(Absent(""), Small(""))
    assert without.label_for(GGUF) == "small"
    assert [(view.name, view.is_usable, view.why_not) for view in without.runners] == [
        ("llama-server", False, "It is not installed."),
        ("xllamacpp", True, ""),
    ]
    assert list(await without.devices()) == []


async def test_the_slots_are_those_of_the_runner_with_the_models_own_arguments() -> None:
    assert (await starter(Server(""))).slots_for(GGUF) is None
    assert (await starter(Wide(""), Small(""))).slots_for(GGUF) == 4
    own = LocalModelSettings(id=GGUF.id, args=("-np", "8"))
    made = await starter(Wide(""), models=(own,))
    assert (made.slots_for(GGUF), made.slots_for(MLX)) == (6, None)


async def test_without_a_runner_the_reason_says_what_to_install() -> None:
    made = await starter(Absent(""), Opt(""))
    for model, word in ((GGUF, "models pull engine"), (MLX, "mlx-lm"), (SAFE, 'runner = "vllm"')):
        with pytest.raises(EngineFailed) as failed:
            await made.start(model, 512, (), 60.0)
        assert word in failed.value.reason.fix
    chosen = await starter(Absent(""), Small(""), runner="llama-server")
    assert chosen.label_for(GGUF) == ""
    with pytest.raises(EngineFailed, match="not installed"):
        await chosen.start(GGUF, 512, (), 60.0)


async def test_the_runners_of_the_product_in_their_order() -> None:
    assert [runner.name for runner in all_runners({"PATH": ""})] == [
        "llama-server",
        "xllamacpp",
        "mlx",
        "vllm",
    ]


async def test_leftovers_are_ended_through_it() -> None:
    ended: list[int] = []

    def end(pid: int, _mark: str) -> bool:
        ended.append(pid)
        return True

    left = Leftovers(lambda: b'[{"pid": 4321, "mark": "m"}]', lambda _: None, end=end)
    await Starter(LocalSettings(), left, {}, asyncio.get_running_loop(), runners=()).end_leftovers()
    assert ended == [4321]
