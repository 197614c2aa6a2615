"""The demo's process: listed while it lives, gone with its end, its own or the service's."""

import asyncio
import sys

import pytest

from meshlight.domain.backend import Backend
from meshlight.domain.errors import MeshlightError
from meshlight.mesh.registry import Registry
from meshlight.service.demo import Demo

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the signals there are others")
LINE = (
    '[{"id":"demo-ollama","name":"Demo Ollama","kind":"ollama","url":"http://127.0.0.1:1","ring":"machine"}]'
)
CHILD = f"import sys; print('''{LINE}''', flush=True); sys.stdin.read()"


def demo(registry: Registry, program: str = CHILD) -> Demo:
    async def check(_: str) -> None:
        """Nothing has to be waited for here."""

    return Demo(registry, check, (sys.executable, "-c", program))


async def test_its_backends_are_listed_beside_others_until_it_is_ended() -> None:
    registry = Registry(lambda: 0.0)
    mine = Backend(id="demo-ollama", name="Mine", kind="ollama", ring="machine", url="http://127.0.0.1:2")
    registry.put(mine)
    running = demo(registry)
    await running.start()
    await running.start()
    listed = {node.backend.id: node.backend for node in registry.snapshot.nodes.values()}
    assert listed.keys() == {"demo-ollama", "demo-ollama-2"}
    assert listed["demo-ollama"] is mine
    assert listed["demo-ollama-2"].source == "demo"
    assert running.is_running
    await running.stop()
    await running.stop()
    assert [node.backend for node in registry.snapshot.nodes.values()] == [mine]
    assert not running.is_running


async def test_if_its_process_dies_its_backends_are_gone_and_it_can_be_started_again() -> None:
    registry = Registry(lambda: 0.0)
    gone = asyncio.Event()
    running = demo(registry)
    registry.listen(lambda _: None if registry.snapshot.nodes else gone.set())
    await running.start()
    assert running._process is not None
    running._process.kill()
    await asyncio.wait_for(gone.wait(), 20)
    assert not running.is_running
    await running.start()
    assert registry.snapshot.nodes
    await running.stop()


@pytest.mark.parametrize("program", ["", "print('no JSON')", "import sys; sys.exit('no port')"])
async def test_a_process_that_does_not_come_up_is_an_error_and_leaves_nothing(program: str) -> None:
    registry = Registry(lambda: 0.0)
    with pytest.raises(MeshlightError, match="did not start"):
        await demo(registry, program).start()
    assert not registry.snapshot.nodes


async def test_a_process_that_can_not_even_be_started_is_the_same_error() -> None:
    registry = Registry(lambda: 0.0)
    running = demo(registry)
    running._command = ("/nonexistent/meshlight",)
    with pytest.raises(MeshlightError, match="did not start"):
        await running.start()
    await running.stop()
