"""This machine's models are switched on and off while the service runs, and cost nothing where they are off."""

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from local_models.stub_manager import StubManager
from meshlight.domain.config import LocalSettings
from meshlight.domain.errors import Conflict, NotFound, RouteUnavailable
from meshlight.domain.health import Refused
from meshlight.domain.local_models import Demand
from meshlight.service.local_models import OFF, SwitchedLocalModels

ON, OFF_SETTINGS = LocalSettings(), LocalSettings(enabled=False)


class Rig:
    def __init__(self) -> None:
        self.built: list[StubManager] = []
        self.known: list[bool] = []
        self.switched = SwitchedLocalModels(self._build, self.known.append)

    def _build(self, settings: LocalSettings) -> StubManager:
        del settings
        self.built.append(StubManager())
        return self.built[-1]

    async def settle(self) -> None:
        task = self.switched._changing
        if task is not None:
            await task


async def test_nothing_is_built_before_the_service_is_ready_nor_where_it_is_off() -> None:
    rig = Rig()
    rig.switched.follow(ON)
    assert not rig.built
    rig.switched.follow(OFF_SETTINGS)
    rig.switched.start()
    assert not rig.built
    assert not rig.switched.view().enabled
    rig.switched.follow(ON)
    await rig.settle()
    assert rig.built[0].did == ["start"]
    assert rig.switched.view().enabled


async def test_off_ends_everything_and_on_again_begins_anew_once_that_is_over() -> None:
    rig = Rig()
    rig.switched.follow(ON)
    rig.switched.start()
    rig.switched.follow(LocalSettings(runner="mlx"))
    rig.switched.follow(OFF_SETTINGS)
    rig.switched.follow(ON)
    await rig.settle()
    first, second = rig.built
    assert first.did[-1] == "close"
    assert second.did == ["start"]
    assert rig.known == [False]
    await rig.switched.close()
    assert second.did == ["start", "close"]
    rig.switched.follow(ON)
    assert len(rig.built) == 2, "nothing begins after the end"


async def test_a_part_that_can_t_be_imported_is_told_to_the_log_and_stops_nothing_else(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def build(settings: LocalSettings) -> StubManager:
        del settings
        raise ModuleNotFoundError("No module named 'psutil'")

    switched = SwitchedLocalModels(build)
    switched.follow(ON)
    switched.start()
    assert not switched.view().enabled
    assert "No module named 'psutil'" in caplog.text
    await switched.close()


async def test_all_that_is_asked_goes_to_what_is_on() -> None:
    rig = Rig()
    rig.switched.follow(ON)
    rig.switched.start()
    await rig.settle()
    [manager] = rig.built
    switched = rig.switched
    assert switched.model("m").id == "m"
    assert switched.probe().models == ("m",)
    assert (await switched.route("m", Demand())).model == "m"
    assert await switched.why_lost("m", manager.upstream) is None
    await switched.load("m", wait=True)
    await switched.unload("m", force=True)
    await switched.delete("m")
    await switched.refresh()
    await switched.look()
    switched.request_ended("m")
    assert switched.log("m").model == "m"
    assert manager.ended == ["m"]
    assert switched.downloads is manager.downloads
    assert manager.did == ["start", "load m True", "unload m True", "delete m", "refresh", "look"]
    await switched.close()


@pytest.mark.parametrize(
    "ask",
    [
        lambda off: off.load("m"),
        lambda off: off.unload("m"),
        lambda off: off.delete("m"),
        lambda off: off.downloads.pull("starter"),
        lambda off: off.downloads.pause("1"),
        lambda off: off.downloads.resume("1"),
        lambda off: off.downloads.cancel("1"),
        lambda off: off.downloads.repository("a/b"),
    ],
)
async def test_where_it_is_off_that_is_said_with_the_fix(
    ask: Callable[[SwitchedLocalModels], Awaitable[object]],
) -> None:
    with pytest.raises(Conflict, match="switched off") as refused:
        await ask(Rig().switched)
    assert "[local]" in refused.value.hint


async def test_where_it_is_off_nothing_is_there() -> None:
    off = Rig().switched
    assert off.probe().fact == Refused(OFF)
    with pytest.raises(RouteUnavailable):
        await off.route("m", Demand())
    with pytest.raises(NotFound):
        off.model("m")
    with pytest.raises(Conflict):
        off.log("m")
    assert off.downloads.views() == ()
    assert off.downloads.starters() == ()
    off.downloads.start()
    await off.downloads.close()
    await off.refresh()
    await off.look()
    off.request_ended("m")
    await off.close()
    await asyncio.sleep(0)


def test_the_service_itself_imports_nothing_of_what_finds_and_runs_models() -> None:
    code = (
        "import sys, meshlight.service.wiring;"
        "print(*(m for m in sys.modules if m == 'psutil' or m.startswith('meshlight.local_models')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    allowed = {"meshlight.local_models", "meshlight.local_models.interfaces"}
    allowed |= {"meshlight.local_models.runners", "meshlight.local_models.runners.base"}
    assert set(done.stdout.split()) <= allowed
