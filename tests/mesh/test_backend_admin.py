"""The user's list of backends: tried before it is kept, told why not, and kept as the file has it."""

import asyncio

import pytest
from msgspec.structs import replace

from fake_clock import backend
from mesh.fake_backend_admin import HERE, THERE, FakeBackendAdmin, draft
from mesh.fake_backends import REFUSED, models, reply, settle
from meshlight.backends.this_machine import this_machine
from meshlight.domain.backend import Backend
from meshlight.domain.config import Config, DiscoverySettings
from meshlight.domain.errors import (
    BackendCheckFailed,
    BadAddress,
    BadRequest,
    ConfigError,
    Conflict,
    NotFound,
)
from meshlight.domain.local_models import LOCAL_ID
from meshlight.domain.rules import Routing
from meshlight.mesh.backend_form import BackendPatch


async def test_a_backend_that_answers_is_kept_and_probed() -> None:
    fake = FakeBackendAdmin()
    added = await fake.backend_admin.add(draft(name="  Study  "))
    await settle()
    assert (added.id, added.name, added.ring, added.source) == ("study", "Study", "machine", "config")
    assert fake.store.backends == {"study": added}
    assert fake.state("study") == ("healthy", "ok")


async def test_one_that_does_not_answer_is_not_kept_and_the_cause_and_the_fix_are_told() -> None:
    fake = FakeBackendAdmin()
    fake.upstream_of(HERE).answer = REFUSED
    with pytest.raises(BackendCheckFailed, match=r"Connection refused at 127\.0\.0\.1:7001") as failed:
        await fake.backend_admin.add(draft(api_key="sk-1"))
    assert failed.value.hint.startswith("Start it")
    assert (fake.ids, fake.store.backends, fake.store.secrets) == ([], {}, {})


async def test_one_that_does_not_answer_is_kept_if_the_user_insists() -> None:
    fake = FakeBackendAdmin()
    fake.upstream_of(HERE).answer = REFUSED
    added = await fake.backend_admin.add(draft(save_anyway=True))
    await settle()
    assert fake.state(added.id) == ("unhealthy", "refused")


async def test_one_that_loads_its_model_is_kept() -> None:
    fake = FakeBackendAdmin()
    fake.upstream_of(HERE).answer = reply(b'{"error": {"message": "Loading model"}}', 503)
    assert (await fake.backend_admin.add(draft())).id in fake.ids


async def test_its_key_is_tried_before_it_is_kept() -> None:
    fake = FakeBackendAdmin()
    fake.upstream_of(HERE).answer = reply(b"{}", 401)
    with pytest.raises(BackendCheckFailed, match="refuses the API key"):
        await fake.backend_admin.add(draft(api_key="sk-wrong"))
    assert fake.store.secrets == {}
    fake.upstream_of(HERE).answer = models("m")
    added = await fake.backend_admin.add(draft(api_key=" sk-right\n"))
    assert fake.store.secrets == {added.id: "sk-right"}
    assert added.has_secret
    assert "sk-right" not in repr(added)


async def test_what_the_try_saw_is_known_at_once() -> None:
    fake = FakeBackendAdmin()
    fake.upstream_of(HERE).answer = models("m1", "m2")
    added = await fake.backend_admin.add(draft())
    node = fake.registry.node(added.id)
    assert (node.health.state, node.models) == ("healthy", ("m1", "m2"))


async def test_one_that_is_added_switched_off_is_not_asked() -> None:
    fake = FakeBackendAdmin()
    fake.upstream_of(HERE).answer = REFUSED
    added = await fake.backend_admin.add(draft(enabled=False))
    await settle()
    assert (fake.ids, fake.upstream_of(HERE).requests) == ([added.id], [])


async def test_a_failed_try_says_what_suits_one_that_is_not_listed_and_names_the_field() -> None:
    fake = FakeBackendAdmin()
    fake.upstream_of(HERE).answer = REFUSED
    with pytest.raises(BackendCheckFailed) as down:
        await fake.backend_admin.add(draft())
    assert (down.value.hint, down.value.param) == ("Start it (`llama-server -m MODEL.gguf`).", "url")
    fake.upstream_of(HERE).answer = reply(b"{}", 401)
    with pytest.raises(BackendCheckFailed) as locked:
        await fake.backend_admin.add(draft())
    assert (locked.value.hint, locked.value.param) == ("Give its API key.", "api_key")
    fake.upstream_of(HERE).answer = reply(b"{}", 429)
    with pytest.raises(BackendCheckFailed) as limited:
        await fake.backend_admin.add(draft())
    assert limited.value.param is None, "no field is wrong"


async def test_where_the_file_can_t_be_written_the_key_is_not_left_behind() -> None:
    fake = FakeBackendAdmin()
    fake.store.error = ConfigError("line 3: nonsense.")
    with pytest.raises(ConfigError):
        await fake.backend_admin.add(draft(api_key="sk-1"))
    assert (fake.ids, fake.store.secrets) == ([], {})


@pytest.mark.parametrize("url", [HERE, HERE + "/v1/", "http://localhost:7001", "HTTP://127.0.0.1:7001/"])
async def test_the_same_server_is_listed_once_however_its_url_is_spelt(url: str) -> None:
    fake = FakeBackendAdmin()
    fake.find("llamacpp-7001", HERE)
    with pytest.raises(Conflict, match=r"is at http://127\.0\.0\.1:7001 already") as conflict:
        await fake.backend_admin.add(draft(url))
    assert "'llamacpp-7001'" in conflict.value.hint


async def test_of_two_who_add_the_same_at_once_one_is_told() -> None:
    fake = FakeBackendAdmin()
    fake.upstream_of(HERE).answer = None
    both = [asyncio.create_task(fake.backend_admin.add(draft())) for _ in range(2)]
    await settle()
    fake.upstream_of(HERE).release(models("m"))
    done = await asyncio.gather(*both, return_exceptions=True)
    assert [type(one) for one in done] == [Backend, Conflict]


async def test_ids_are_unique_and_stay_whatever_the_name_becomes() -> None:
    fake = FakeBackendAdmin()
    urls = [f"http://127.0.0.1:{7001 + n}" for n in range(4)]
    names = ["GPU Box", "gpu-box", "GPU  BOX!", "你好"]
    ids = [
        (await fake.backend_admin.add(draft(url, name=name))).id
        for url, name in zip(urls, names, strict=True)
    ]
    assert ids == ["gpu-box", "gpu-box-2", "gpu-box-3", "backend"]
    renamed = await fake.backend_admin.change("gpu-box", BackendPatch(name="Attic"))
    assert (renamed.id, renamed.name) == ("gpu-box", "Attic")


async def test_slots_are_set_and_left_to_be_learned_again() -> None:
    fake = FakeBackendAdmin()
    added = await fake.backend_admin.add(draft(name="box", slots=2))
    changes = [BackendPatch(slots=4), BackendPatch(priority=1), BackendPatch(slots=None)]
    assert added.slots == 2
    assert [(await fake.backend_admin.change("box", change)).slots for change in changes] == [4, 4, None]


async def test_a_backend_without_a_name_is_called_after_its_kind_and_place() -> None:
    added = await FakeBackendAdmin().backend_admin.add(draft())
    assert (added.name, added.id) == ("llama.cpp 127.0.0.1:7001", "llama-cpp-127-0-0-1-7001")


async def test_there_is_a_most_of_backends() -> None:
    fake = FakeBackendAdmin(limit=1)
    await fake.backend_admin.add(draft())
    with pytest.raises(Conflict, match="already"):
        await fake.backend_admin.add(draft(THERE))


async def test_a_new_url_is_tried_then_probed_and_what_was_believed_is_forgotten() -> None:
    fake = FakeBackendAdmin()
    await fake.backend_admin.add(draft(name="a"))
    fake.upstream_of(THERE).answer = REFUSED
    with pytest.raises(BackendCheckFailed):
        await fake.backend_admin.change("a", BackendPatch(url=THERE))
    assert fake.registry.node("a").backend.url == HERE
    fake.upstream_of(THERE).answer = models("new")
    await fake.backend_admin.change("a", BackendPatch(url=THERE))
    assert fake.state("a") == ("healthy", "ok")
    assert fake.registry.snapshot.routes == {"new": ("a",)}
    assert fake.upstream_of(HERE).is_closed


async def test_how_far_a_prompt_travels_follows_from_the_new_url() -> None:
    fake = FakeBackendAdmin()
    await fake.backend_admin.add(draft(name="a"))
    moved = await fake.backend_admin.change(
        "a", BackendPatch(url="https://api.example.com", save_anyway=True)
    )
    assert moved.ring == "cloud"
    await fake.backend_admin.change("a", BackendPatch(ring="company"))
    moved = await fake.backend_admin.change("a", BackendPatch(url="http://10.0.0.2:1", save_anyway=True))
    assert moved.ring == "company", "what the user has said is the user's"
    moved = await fake.backend_admin.change("a", BackendPatch(url=HERE, ring="lan"))
    assert moved.ring == "lan"


async def test_a_url_that_another_has_is_refused_and_its_own_is_not() -> None:
    fake = FakeBackendAdmin()
    await fake.backend_admin.add(draft(name="a"))
    await fake.backend_admin.add(draft(THERE, name="b"))
    with pytest.raises(Conflict):
        await fake.backend_admin.change("a", BackendPatch(url=THERE))
    assert (await fake.backend_admin.change("a", BackendPatch(url=HERE + "/v1"))).url == HERE


async def test_a_new_key_is_tried_and_used_at_once() -> None:
    fake = FakeBackendAdmin()
    upstream = fake.upstream_of(HERE)
    upstream.answer = reply(b"{}", 401)
    await fake.backend_admin.add(draft(name="a", api_key="old", save_anyway=True))
    await settle()
    assert fake.state("a") == ("unhealthy", "unauthorized")
    with pytest.raises(BackendCheckFailed):
        await fake.backend_admin.change("a", BackendPatch(api_key="bad"))
    assert fake.store.secrets == {"a": "old"}
    upstream.answer = models("m")
    await fake.backend_admin.change("a", BackendPatch(api_key="new"))
    assert fake.store.secrets == {"a": "new"}
    assert upstream.keys[-1] == b"Bearer new"
    assert fake.state("a") == ("healthy", "ok"), (
        "one good answer is enough: what was believed was of the old key"
    )


async def test_an_empty_key_takes_the_kept_one_away() -> None:
    fake = FakeBackendAdmin()
    await fake.backend_admin.add(draft(name="a", api_key="old"))
    changed = await fake.backend_admin.change("a", BackendPatch(api_key=""))
    assert not changed.has_secret
    assert fake.store.secrets == {}
    assert fake.upstream_of(HERE).keys[-1] == b""
    await fake.backend_admin.change("a", BackendPatch(api_key=""))


async def test_another_path_is_tried_with_the_kept_key_even_of_one_that_was_never_probed() -> None:
    fake = FakeBackendAdmin()
    await fake.backend_admin.add(draft(name="a", api_key="sk-1", enabled=False, save_anyway=True))
    await fake.backend_admin.change("a", BackendPatch(url=HERE + "/team", enabled=True))
    assert fake.upstream_of(HERE + "/team").keys[0] == b"Bearer sk-1"


@pytest.mark.parametrize(
    "url", [THERE, "http://localhost:7001", "https://127.0.0.1:7001", "http://127.0.0.2:7001"]
)
@pytest.mark.parametrize("insists", [False, True])
async def test_the_kept_key_does_not_go_along_to_another_host(url: str, insists: bool) -> None:
    fake = FakeBackendAdmin()
    await fake.backend_admin.add(draft(name="a", api_key="sk-1"))
    with pytest.raises(BadRequest, match="so it is not sent to") as refused:
        await fake.backend_admin.change("a", BackendPatch(url=url, save_anyway=insists))
    assert refused.value.param == "api_key"
    await settle()
    assert fake.registry.node("a").backend.url == HERE
    assert fake.upstreams.keys() == {HERE}


async def test_with_its_key_anew_or_none_a_backend_may_move() -> None:
    fake = FakeBackendAdmin()
    await fake.backend_admin.add(draft(name="a", api_key="sk-1"))
    await fake.backend_admin.change("a", BackendPatch(url=THERE, api_key="sk-2"))
    assert set(fake.upstream_of(THERE).keys) == {b"Bearer sk-2"}
    await fake.backend_admin.change("a", BackendPatch(url=HERE, api_key=""))
    assert fake.upstream_of(HERE).keys[-1] == b""


async def test_a_url_that_is_changed_in_the_file_does_not_take_the_key_along() -> None:
    fake = FakeBackendAdmin()
    added = await fake.backend_admin.add(draft(name="a", api_key="sk-1"))
    await settle()
    fake.backend_admin.follow(Config(backends=(replace(added, url=THERE),)))
    await settle()
    assert fake.state("a") == ("unhealthy", "secret-other-address")
    connection = fake.connections.get("a")
    assert connection is not None
    assert connection.address.origin == THERE
    assert connection.secret is None
    assert b"Bearer sk-1" not in fake.upstream_of(THERE).keys


async def test_one_that_is_switched_off_is_changed_without_being_asked() -> None:
    fake = FakeBackendAdmin()
    await fake.backend_admin.add(draft(name="a"))
    await fake.backend_admin.switch("a", enabled=False)
    fake.upstream_of(THERE).answer = REFUSED
    changed = await fake.backend_admin.change("a", BackendPatch(url=THERE))
    assert (changed.url, changed.enabled) == (THERE, False)
    assert fake.upstream_of(THERE).requests == []


async def test_a_found_engine_that_is_switched_off_is_written_down_and_keeps_what_is_known_of_it() -> None:
    fake = FakeBackendAdmin()
    fake.find("llamacpp-7001", HERE)
    await settle()
    fake.traffic.reserve("llamacpp-7001", "m").close("ok")
    fake.changes.clear()
    off = await fake.backend_admin.switch("llamacpp-7001", enabled=False)
    assert (off.source, off.enabled) == ("config", False)
    assert fake.store.backends == {"llamacpp-7001": off}
    assert [change.removed for change in fake.changes] == [()], "it never leaves the picture"
    node = fake.registry.node("llamacpp-7001")
    assert (node.health.state, node.models) == ("healthy", ("m",))
    assert fake.traffic.by_backend()["llamacpp-7001"].total == 1


async def test_what_is_removed_leaves_nothing_behind() -> None:
    fake = FakeBackendAdmin()
    await fake.backend_admin.add(draft(name="a", api_key="sk-1"))
    await fake.backend_admin.remove("a")
    assert (fake.ids, fake.store.backends, fake.store.secrets) == ([], {}, {})
    assert fake.upstream_of(HERE).is_closed
    with pytest.raises(NotFound):
        await fake.backend_admin.remove("a")


async def test_a_removed_engine_is_never_found_again() -> None:
    fake = FakeBackendAdmin()
    fake.find("llamacpp-7001", HERE)
    await fake.backend_admin.remove("llamacpp-7001")
    assert (fake.ids, fake.store.ignored) == ([], [HERE])


async def test_a_removed_backend_that_would_be_found_by_itself_stays_away_too() -> None:
    fake = FakeBackendAdmin()
    fake.find("llamacpp-8080", "http://127.0.0.1:8080")
    await fake.backend_admin.switch("llamacpp-8080", enabled=False)
    await fake.backend_admin.remove("llamacpp-8080")
    assert (fake.ids, fake.store.ignored) == ([], ["http://127.0.0.1:8080"])
    await fake.backend_admin.add(draft("http://10.0.0.2:8080", name="far", ring="lan", save_anyway=True))
    await fake.backend_admin.remove("far")
    assert fake.store.ignored == ["http://127.0.0.1:8080"], "only what is on this machine is ever found"


async def test_the_file_is_followed_and_following_it_twice_changes_nothing() -> None:
    fake = FakeBackendAdmin()
    config = Config(
        backends=(backend("a", url=HERE), backend("b", url=THERE, enabled=False)),
        routing=Routing(aliases={"best": "m"}),
    )
    fake.backend_admin.follow(config)
    await settle()
    assert fake.ids == ["a", "b"]
    assert fake.registry.snapshot.routing.aliases == {"best": "m"}
    fake.changes.clear()
    fake.backend_admin.follow(config)
    assert fake.changes == []
    fake.backend_admin.follow(Config(backends=(backend("b", url=THERE),)))
    assert fake.ids == ["b"]


async def test_following_keeps_what_was_found_unless_the_file_has_it_or_ignores_it() -> None:
    fake = FakeBackendAdmin()
    fake.find("llamacpp-7001", HERE)
    fake.find("vllm-7002", THERE)
    fake.find("ollama-7003", "http://127.0.0.1:7003")
    ignored = DiscoverySettings(ignored=("http://localhost:7003/v1",))
    fake.backend_admin.follow(
        Config(backends=(backend("mine", url="http://localhost:7001/"),), discovery=ignored)
    )
    assert fake.ids == ["vllm-7002", "mine"]


async def test_changing_one_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound, match="'ghost'"):
        await FakeBackendAdmin().backend_admin.change("ghost", BackendPatch(name="x"))


async def test_a_url_that_is_none_is_refused_on_change_too() -> None:
    fake = FakeBackendAdmin()
    await fake.backend_admin.add(draft(name="a"))
    with pytest.raises(BadAddress):
        await fake.backend_admin.change("a", BackendPatch(url="nonsense"))


async def test_this_machines_own_models_are_not_the_lists_matter() -> None:
    fake = FakeBackendAdmin()
    fake.registry.put(this_machine())
    fake.backend_admin.follow(fake.store.config)
    assert fake.ids == [LOCAL_ID], "it is in no configuration and stays"
    for change in (
        fake.backend_admin.remove(LOCAL_ID),
        fake.backend_admin.switch(LOCAL_ID, enabled=False),
        fake.backend_admin.change(LOCAL_ID, BackendPatch(name="Mine")),
    ):
        with pytest.raises(Conflict, match="not part of the list") as refused:
            await change
        assert "enabled = false" in refused.value.hint
    with pytest.raises(BadRequest, match="not added"):
        await fake.backend_admin.add(draft(kind="local"))


async def test_no_backend_gets_the_id_of_this_machines_own_models() -> None:
    fake = FakeBackendAdmin()
    added = await fake.backend_admin.add(draft(name="This machine", save_anyway=True))
    assert added.id == f"{LOCAL_ID}-2"
