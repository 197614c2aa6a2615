"""Why the engine behind a broken connection has ended, and what is found out before anybody asks."""

import asyncio

from local_models.fake_engines import Rig, a_model
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream


async def test_whoever_lost_a_connection_hears_how_the_engine_ended() -> None:
    rig = Rig(a_model("a"))
    first = await rig.use("a")
    asked = asyncio.create_task(rig.owner.why_lost("a", first.upstream))
    await asyncio.sleep(0)
    assert not asked.done(), "the process may be gone a moment after its connections"
    rig.starter.engine("a").end(-11)
    await rig.turn()
    why = await asked
    assert why is not None
    assert why.text == "It ended with -11."
    second = await rig.use("a")
    assert second.upstream is not first.upstream
    assert await rig.owner.why_lost("a", first.upstream) == why
    assert await rig.owner.why_lost("b", first.upstream) is None
    assert await rig.owner.why_lost("a", Upstream(parse_address("http://127.0.0.1:1"))) is None


async def test_an_answer_that_was_cut_by_hand_says_so() -> None:
    rig = Rig(a_model("a"))
    route = await rig.use("a")
    await rig.owner.unload("a", force=True)
    why = await rig.owner.why_lost("a", route.upstream)
    assert why is not None
    assert why.code == "unloaded"


async def test_what_runs_models_and_where_is_asked_once() -> None:
    rig = Rig(a_model("a"))
    await asyncio.gather(rig.owner.prepare(), rig.owner.prepare())
    await rig.use("a")
    assert rig.starter.asked == 1
