"""The user's list of backends: tried before it is kept, told why not, and kept as the file has it."""

import asyncio

import pytest
from msgspec.structs import replace

from mesh.household import HERE, THERE, Household, draft
from mesh.room import REFUSED, models, reply, settle
from mesh.stage import backend
from meshlight.domain.backend import Backend
from meshlight.domain.config import Config, DiscoverySettings
from meshlight.domain.errors import BadAddress, BadRequest, CheckFailed, ConfigError, Conflict, NotFound
from meshlight.domain.rules import Routing
from meshlight.mesh.draft import Patch


async def test_a_backend_that_answers_is_kept_and_probed() -> None:
    house = Household()
    added = await house.roster.add(draft(name="  Study  "))
    await settle()
    assert (added.id, added.name, added.ring, added.source) == ("study", "Study", "machine", "config")
    assert house.shelf.backends == {"study": added}
    assert house.state("study") == ("healthy", "ok")


async def test_one_that_does_not_answer_is_not_kept_and_the_cause_and_the_fix_are_told() -> None:
    house = Household()
    house.wire(HERE).says = REFUSED
    with pytest.raises(CheckFailed, match=r"Connection refused at 127\.0\.0\.1:7001") as failed:
        await house.roster.add(draft(api_key="sk-1"))
    assert failed.value.hint.startswith("Start it")
    assert (house.ids, house.shelf.backends, house.purse.kept) == ([], {}, {})


async def test_one_that_does_not_answer_is_kept_if_the_user_insists() -> None:
    house = Household()
    house.wire(HERE).says = REFUSED
    added = await house.roster.add(draft(save_anyway=True))
    await settle()
    assert house.state(added.id) == ("unhealthy", "refused")


async def test_one_that_loads_its_model_is_kept() -> None:
    house = Household()
    house.wire(HERE).says = reply(b'{"error": {"message": "Loading model"}}', 503)
    assert (await house.roster.add(draft())).id in house.ids


async def test_its_key_is_tried_before_it_is_kept() -> None:
    house = Household()
    house.wire(HERE).says = reply(b"{}", 401)
    with pytest.raises(CheckFailed, match="refuses the API key"):
        await house.roster.add(draft(api_key="sk-wrong"))
    assert house.purse.kept == {}
    house.wire(HERE).says = models("m")
    added = await house.roster.add(draft(api_key=" sk-right\n"))
    assert house.purse.kept == {added.id: "sk-right"}
    assert added.has_secret
    assert "sk-right" not in repr(added)


async def test_what_the_try_saw_is_known_at_once() -> None:
    house = Household()
    house.wire(HERE).says = models("m1", "m2")
    added = await house.roster.add(draft())
    node = house.registry.node(added.id)
    assert (node.health.state, node.models) == ("healthy", ("m1", "m2"))


async def test_one_that_is_added_switched_off_is_not_asked() -> None:
    house = Household()
    house.wire(HERE).says = REFUSED
    added = await house.roster.add(draft(enabled=False))
    await settle()
    assert (house.ids, house.wire(HERE).asked) == ([added.id], [])


async def test_a_failed_try_says_what_suits_one_that_is_not_listed_and_names_the_field() -> None:
    house = Household()
    house.wire(HERE).says = REFUSED
    with pytest.raises(CheckFailed) as down:
        await house.roster.add(draft())
    assert (down.value.hint, down.value.param) == ("Start it (`llama-server -m MODEL.gguf`).", "url")
    house.wire(HERE).says = reply(b"{}", 401)
    with pytest.raises(CheckFailed) as locked:
        await house.roster.add(draft())
    assert (locked.value.hint, locked.value.param) == ("Give its API key.", "api_key")
    house.wire(HERE).says = reply(b"{}", 429)
    with pytest.raises(CheckFailed) as limited:
        await house.roster.add(draft())
    assert limited.value.param is None, "no field is wrong"


async def test_where_the_file_can_t_be_written_the_key_is_not_left_behind() -> None:
    house = Household()
    house.shelf.broken = ConfigError("line 3: nonsense.")
    with pytest.raises(ConfigError):
        await house.roster.add(draft(api_key="sk-1"))
    assert (house.ids, house.purse.kept) == ([], {})


@pytest.mark.parametrize("url", [HERE, HERE + "/v1/", "http://localhost:7001", "HTTP://127.0.0.1:7001/"])
async def test_the_same_server_is_listed_once_however_its_url_is_spelt(url: str) -> None:
    house = Household()
    house.find("llamacpp-7001", HERE)
    with pytest.raises(Conflict, match=r"is at http://127\.0\.0\.1:7001 already") as conflict:
        await house.roster.add(draft(url))
    assert "'llamacpp-7001'" in conflict.value.hint


async def test_of_two_who_add_the_same_at_once_one_is_told() -> None:
    house = Household()
    house.wire(HERE).says = None
    both = [asyncio.create_task(house.roster.add(draft())) for _ in range(2)]
    await settle()
    house.wire(HERE).release(models("m"))
    done = await asyncio.gather(*both, return_exceptions=True)
    assert [type(one) for one in done] == [Backend, Conflict]


async def test_ids_are_unique_and_stay_whatever_the_name_becomes() -> None:
    house = Household()
    urls = [f"http://127.0.0.1:{7001 + n}" for n in range(4)]
    names = ["GPU Box", "gpu-box", "GPU  BOX!", "你好"]
    ids = [(await house.roster.add(draft(url, name=name))).id for url, name in zip(urls, names, strict=True)]
    assert ids == ["gpu-box", "gpu-box-2", "gpu-box-3", "backend"]
    renamed = await house.roster.change("gpu-box", Patch(name="Attic"))
    assert (renamed.id, renamed.name) == ("gpu-box", "Attic")


async def test_a_backend_without_a_name_is_called_after_its_kind_and_place() -> None:
    added = await Household().roster.add(draft())
    assert (added.name, added.id) == ("llama.cpp 127.0.0.1:7001", "llama-cpp-127-0-0-1-7001")


async def test_there_is_a_most_of_backends() -> None:
    house = Household(most=1)
    await house.roster.add(draft())
    with pytest.raises(Conflict, match="already"):
        await house.roster.add(draft(THERE))


async def test_a_new_url_is_tried_then_probed_and_what_was_believed_is_forgotten() -> None:
    house = Household()
    await house.roster.add(draft(name="a"))
    house.wire(THERE).says = REFUSED
    with pytest.raises(CheckFailed):
        await house.roster.change("a", Patch(url=THERE))
    assert house.registry.node("a").backend.url == HERE
    house.wire(THERE).says = models("new")
    await house.roster.change("a", Patch(url=THERE))
    assert house.state("a") == ("healthy", "ok")
    assert house.registry.snapshot.routes == {"new": ("a",)}
    assert house.wire(HERE).is_closed


async def test_how_far_a_prompt_travels_follows_from_the_new_url() -> None:
    house = Household()
    await house.roster.add(draft(name="a"))
    moved = await house.roster.change("a", Patch(url="https://api.example.com", save_anyway=True))
    assert moved.ring == "cloud"
    await house.roster.change("a", Patch(ring="company"))
    moved = await house.roster.change("a", Patch(url="http://10.0.0.2:1", save_anyway=True))
    assert moved.ring == "company", "what the user has said is the user's"
    moved = await house.roster.change("a", Patch(url=HERE, ring="lan"))
    assert moved.ring == "lan"


async def test_a_url_that_another_has_is_refused_and_its_own_is_not() -> None:
    house = Household()
    await house.roster.add(draft(name="a"))
    await house.roster.add(draft(THERE, name="b"))
    with pytest.raises(Conflict):
        await house.roster.change("a", Patch(url=THERE))
    assert (await house.roster.change("a", Patch(url=HERE + "/v1"))).url == HERE


async def test_a_new_key_is_tried_and_used_at_once() -> None:
    house = Household()
    wire = house.wire(HERE)
    wire.says = reply(b"{}", 401)
    await house.roster.add(draft(name="a", api_key="old", save_anyway=True))
    await settle()
    assert house.state("a") == ("unhealthy", "unauthorized")
    with pytest.raises(CheckFailed):
        await house.roster.change("a", Patch(api_key="bad"))
    assert house.purse.kept == {"a": "old"}
    wire.says = models("m")
    await house.roster.change("a", Patch(api_key="new"))
    assert house.purse.kept == {"a": "new"}
    assert wire.keys[-1] == b"Bearer new"
    assert house.state("a") == ("healthy", "ok"), (
        "one good answer is enough: what was believed was of the old key"
    )


async def test_an_empty_key_takes_the_kept_one_away() -> None:
    house = Household()
    await house.roster.add(draft(name="a", api_key="old"))
    changed = await house.roster.change("a", Patch(api_key=""))
    assert not changed.has_secret
    assert house.purse.kept == {}
    assert house.wire(HERE).keys[-1] == b""
    await house.roster.change("a", Patch(api_key=""))


async def test_another_path_is_tried_with_the_kept_key_even_of_one_that_was_never_probed() -> None:
    house = Household()
    await house.roster.add(draft(name="a", api_key="sk-1", enabled=False, save_anyway=True))
    await house.roster.change("a", Patch(url=HERE + "/team", enabled=True))
    assert house.wire(HERE + "/team").keys[0] == b"Bearer sk-1"


@pytest.mark.parametrize(
    "url", [THERE, "http://localhost:7001", "https://127.0.0.1:7001", "http://127.0.0.2:7001"]
)
@pytest.mark.parametrize("insists", [False, True])
async def test_the_kept_key_does_not_go_along_to_another_host(url: str, insists: bool) -> None:
    house = Household()
    await house.roster.add(draft(name="a", api_key="sk-1"))
    with pytest.raises(BadRequest, match="so it is not sent to") as refused:
        await house.roster.change("a", Patch(url=url, save_anyway=insists))
    assert refused.value.param == "api_key"
    await settle()
    assert house.registry.node("a").backend.url == HERE
    assert house.wires.keys() == {HERE}


async def test_with_its_key_anew_or_none_a_backend_may_move() -> None:
    house = Household()
    await house.roster.add(draft(name="a", api_key="sk-1"))
    await house.roster.change("a", Patch(url=THERE, api_key="sk-2"))
    assert set(house.wire(THERE).keys) == {b"Bearer sk-2"}
    await house.roster.change("a", Patch(url=HERE, api_key=""))
    assert house.wire(HERE).keys[-1] == b""


async def test_a_url_that_is_changed_in_the_file_does_not_take_the_key_along() -> None:
    house = Household()
    added = await house.roster.add(draft(name="a", api_key="sk-1"))
    await settle()
    house.roster.follow(Config(backends=(replace(added, url=THERE),)))
    await settle()
    assert house.state("a") == ("unhealthy", "secret-other-address")
    link = house.links.get("a")
    assert link is not None
    assert link.address.origin == THERE
    assert link.secret is None
    assert b"Bearer sk-1" not in house.wire(THERE).keys


async def test_one_that_is_switched_off_is_changed_without_being_asked() -> None:
    house = Household()
    await house.roster.add(draft(name="a"))
    await house.roster.switch("a", enabled=False)
    house.wire(THERE).says = REFUSED
    changed = await house.roster.change("a", Patch(url=THERE))
    assert (changed.url, changed.enabled) == (THERE, False)
    assert house.wire(THERE).asked == []


async def test_a_found_engine_that_is_switched_off_is_written_down_and_keeps_what_is_known_of_it() -> None:
    house = Household()
    house.find("llamacpp-7001", HERE)
    await settle()
    house.traffic.reserve("llamacpp-7001", "m").close("ok")
    house.changes.clear()
    off = await house.roster.switch("llamacpp-7001", enabled=False)
    assert (off.source, off.enabled) == ("config", False)
    assert house.shelf.backends == {"llamacpp-7001": off}
    assert [change.removed for change in house.changes] == [()], "it never leaves the picture"
    node = house.registry.node("llamacpp-7001")
    assert (node.health.state, node.models) == ("healthy", ("m",))
    assert house.traffic.by_backend()["llamacpp-7001"].total == 1


async def test_what_is_removed_leaves_nothing_behind() -> None:
    house = Household()
    await house.roster.add(draft(name="a", api_key="sk-1"))
    await house.roster.remove("a")
    assert (house.ids, house.shelf.backends, house.purse.kept) == ([], {}, {})
    assert house.wire(HERE).is_closed
    with pytest.raises(NotFound):
        await house.roster.remove("a")


async def test_a_removed_engine_is_never_found_again() -> None:
    house = Household()
    house.find("llamacpp-7001", HERE)
    await house.roster.remove("llamacpp-7001")
    assert (house.ids, house.shelf.ignored) == ([], [HERE])


async def test_a_removed_backend_that_would_be_found_by_itself_stays_away_too() -> None:
    house = Household()
    house.find("llamacpp-8080", "http://127.0.0.1:8080")
    await house.roster.switch("llamacpp-8080", enabled=False)
    await house.roster.remove("llamacpp-8080")
    assert (house.ids, house.shelf.ignored) == ([], ["http://127.0.0.1:8080"])
    await house.roster.add(draft("http://10.0.0.2:8080", name="far", ring="lan", save_anyway=True))
    await house.roster.remove("far")
    assert house.shelf.ignored == ["http://127.0.0.1:8080"], "only what is on this machine is ever found"


async def test_the_file_is_followed_and_following_it_twice_changes_nothing() -> None:
    house = Household()
    config = Config(
        backends=(backend("a", url=HERE), backend("b", url=THERE, enabled=False)),
        routing=Routing(aliases={"best": "m"}),
    )
    house.roster.follow(config)
    await settle()
    assert house.ids == ["a", "b"]
    assert house.registry.snapshot.routing.aliases == {"best": "m"}
    house.changes.clear()
    house.roster.follow(config)
    assert house.changes == []
    house.roster.follow(Config(backends=(backend("b", url=THERE),)))
    assert house.ids == ["b"]


async def test_following_keeps_what_was_found_unless_the_file_has_it_or_ignores_it() -> None:
    house = Household()
    house.find("llamacpp-7001", HERE)
    house.find("vllm-7002", THERE)
    house.find("ollama-7003", "http://127.0.0.1:7003")
    ignored = DiscoverySettings(ignored=("http://localhost:7003/v1",))
    house.roster.follow(Config(backends=(backend("mine", url="http://localhost:7001/"),), discovery=ignored))
    assert house.ids == ["vllm-7002", "mine"]


async def test_changing_one_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound, match="'ghost'"):
        await Household().roster.change("ghost", Patch(name="x"))


async def test_a_url_that_is_none_is_refused_on_change_too() -> None:
    house = Household()
    await house.roster.add(draft(name="a"))
    with pytest.raises(BadAddress):
        await house.roster.change("a", Patch(url="nonsense"))
