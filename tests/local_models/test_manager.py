"""What the rest of the service sees of this machine's models."""

import asyncio
from pathlib import Path

import pytest
from msgspec.structs import replace

from local_models.fake_parts import LLAMA, Rig, local_model
from meshlight.domain.backend import ModelDetail, Reason
from meshlight.domain.config import LocalModelSettings, LocalSettings
from meshlight.domain.errors import Conflict, NotFound, RouteUnavailable
from meshlight.domain.health import Answered, Refused
from meshlight.domain.local_models import Demand
from meshlight.domain.local_views import DownloadView, MemoryView
from meshlight.local_models.manager import GONE, NOT_RUNNABLE, NOTHING_RUNS, delete_files


async def test_at_the_start_leftovers_end_before_anything_runs_and_what_is_kept_is_loaded_last() -> None:
    rig = Rig()
    rig.manager.start()
    await rig.downloads.started.wait()
    assert rig.starter.did == ["end leftovers"]
    assert rig.catalog.refreshed == 1
    assert rig.catalog.watched == [False]
    assert rig.engines.settings == LocalSettings()
    assert rig.engines.prepared == 0, "where there is no model, no program is started"


async def test_a_model_is_listed_once_it_is_known_what_can_run_it() -> None:
    rig = Rig()
    rig.starter.runners = ()
    rig.engines.on_prepare = lambda: setattr(rig.starter, "runners", (LLAMA,))
    rig.catalog.put(local_model("a"))
    assert rig.known == []
    await asyncio.sleep(0)
    assert rig.known == [True]
    assert rig.engines.prepared == 1
    rig.catalog.put()
    assert rig.known == [True, False]
    await rig.manager.look()
    assert rig.engines.prepared == 1


async def test_whoever_looks_at_a_machine_without_models_learns_what_could_run_them() -> None:
    rig = Rig()
    rig.starter.runners = ()
    await rig.manager.look()
    assert rig.engines.prepared == 1
    assert [device.name for device in rig.manager.view().devices] == ["GPU"]


def test_models_that_can_be_requested_are_listed_with_what_their_headers_say() -> None:
    rig = Rig(
        local_model("o/r:Q4_0", names=("r", "a"), quantization="Q4_0", parameters="1B", context_max=4096),
        local_model("a", projector="/m/p.gguf"),
        local_model("e", purpose="embedding"),
        local_model("k", purpose="rerank"),
        local_model("t", has_chat_template=False, takes_tools=False),
    )
    rig.engines.set("o/r:Q4_0", state="ready", context=2048, load_s=2.5)
    probe = rig.manager.probe()
    assert probe.fact == Answered()
    assert probe.models == ("o/r:Q4_0", "a", "e", "k", "t")
    assert probe.details is not None
    assert probe.details["o/r:Q4_0"] == ModelDetail(
        context=2048,
        loaded=True,
        slots=4,
        load_s=2.5,
        quantization="Q4_0",
        parameters="1B",
        capabilities=("chat", "completion", "tools"),
    )
    assert "vision" in probe.details["a"].capabilities
    assert not probe.details["a"].loaded
    assert probe.details["e"].capabilities == ("embeddings",)
    assert probe.details["k"].capabilities == ("rerank",)
    assert probe.details["t"].capabilities == ("completion",)
    assert probe.names == {"r": "o/r:Q4_0"}, "an id is no further name of another model"
    assert probe.about == {"Models": "5, 1 of them in memory", "Run by": "llama.cpp b1"}


def test_a_loading_model_says_nothing_about_the_health() -> None:
    rig = Rig(local_model("a"))
    rig.engines.set("a", state="loading", progress=0.1)
    assert rig.manager.probe().fact == Answered()


def test_without_anything_to_run_them_the_models_stay_listed_with_the_fix() -> None:
    rig = Rig(local_model("a"))
    rig.starter.runners = (replace(LLAMA, is_usable=False, why_not="not installed"),)
    probe = rig.manager.probe()
    assert probe.fact == Refused(NOTHING_RUNS)
    assert probe.models == ("a",)
    assert not rig.manager.view().can_run


def test_what_can_t_be_used_now_says_why() -> None:
    broken = Reason("broken-file", "The file is incomplete.", "Download it again.")
    rig = Rig(
        local_model("gone", is_missing=True),
        local_model("broken"),
        replace(local_model("mlx"), format="mlx"),
        local_model("ours"),
    )
    rig.engines.set("broken", state="failed", reason=broken)
    rig.manager.follow(LocalSettings(models=(LocalModelSettings(id="ours", hidden=True),)))
    probe = rig.manager.probe()
    assert probe.models == ("broken",), "a request for it is told the reason"
    assert probe.unusable == {"gone": GONE, "broken": broken, "mlx": NOT_RUNNABLE}


async def test_a_hidden_model_is_not_listed_and_a_further_name_is_the_model() -> None:
    rig = Rig(local_model("o/r:Q4_0", names=("r",)), local_model("secret"))
    rig.manager.follow(LocalSettings(models=(LocalModelSettings(id="secret", hidden=True),)))
    await rig.manager.route("r", Demand(is_guest=True))
    assert rig.engines.routed == [("o/r:Q4_0", Demand(is_guest=True))]
    assert rig.manager.probe().models == ("o/r:Q4_0",)
    with pytest.raises(RouteUnavailable):
        await rig.manager.route("nothing", Demand())
    assert rig.manager.model("r").id == "o/r:Q4_0"
    assert rig.manager.names_of("o/r:Q4_0") == ("o/r:Q4_0", "r")
    rig.manager.request_ended("r")
    rig.manager.request_ended("nothing")
    assert rig.engines.ended == ["o/r:Q4_0"]
    assert rig.manager.log("r").lines == ("a line",)
    with pytest.raises(NotFound):
        rig.manager.model("nothing")


async def test_why_a_connection_was_lost_is_the_engines_matter() -> None:
    rig = Rig(local_model("a"))
    route = await rig.manager.route("a", Demand())
    why = await rig.manager.why_lost("a", route.upstream)
    assert why is not None
    assert "ran out of memory" in why.text
    assert await rig.manager.why_lost("nothing", route.upstream) is None


def test_events_come_four_times_a_second_at_most_and_only_with_what_has_changed() -> None:
    rig = Rig(local_model("a"), local_model("b"))
    rig.engines.set("a", state="loading", progress=0.1)
    rig.clock.pass_time(0.0)
    assert [view.id for view in rig.events[0].models] == ["a"]
    for step in range(10):
        rig.engines.set("a", progress=0.1 + step / 100)
        rig.clock.pass_time(0.06)
    assert len(rig.events) == 3
    rig.engines.set("a", state="ready", progress=None)
    rig.clock.pass_time(5)
    assert len(rig.events) == 4, "and when nothing moves, no more"
    rig.catalog.put(local_model("b"))
    rig.clock.pass_time(1)
    assert rig.events[-1].removed == ("a",)
    assert rig.events[-1].revision == rig.manager.view().revision == 1
    rig.manager.catalog_changed()
    rig.clock.pass_time(1)
    assert rig.events[-1].revision == rig.manager.view().revision == 2, "though no model has changed"
    rig.downloads.all = (DownloadView(id="1", name="x", state="running", done_bytes=1),)
    rig.manager.downloads_changed()
    rig.clock.pass_time(1)
    rig.downloads.all = (DownloadView(id="1", name="x", state="done", done_bytes=2),)
    rig.clock.pass_time(1)
    assert rig.events[-1].downloads == rig.downloads.all, "a download that runs is looked at by itself"


def test_of_many_that_have_changed_each_is_told_once() -> None:
    rig = Rig(*(local_model(f"m{number}") for number in range(50)))
    for number in range(50):
        rig.engines.set(f"m{number}", context=number + 1)
    rig.clock.pass_time(1)
    assert len(rig.events[0].models) == 50
    assert len(rig.events) == 1


async def test_whoever_looks_sees_new_files_soon_and_the_memory_move() -> None:
    rig = Rig(local_model("a"))
    assert rig.catalog.watched == []
    rig.manager.view()
    assert not rig.clock.armed
    await rig.manager.look()
    assert rig.catalog.watched == [True]
    before = len(rig.events)
    rig.engines.measured = MemoryView(total_bytes=1_000, available_bytes=500)
    rig.clock.pass_time(6)
    assert rig.events[before:][-1].memory == rig.engines.measured
    rig.engines.measured = MemoryView(total_bytes=1_000, available_bytes=501)
    before = len(rig.events)
    rig.clock.pass_time(6)
    assert len(rig.events) == before, "too little to tell"
    rig.has_page = True
    rig.clock.pass_time(300)
    assert rig.catalog.watched == [True], "the page is open"
    rig.has_page = False
    rig.clock.pass_time(6)
    assert rig.catalog.watched == [True, False]
    assert not rig.clock.armed, "nothing wakes an idle machine"


def test_the_probe_is_made_anew_only_after_a_change() -> None:
    rig = Rig(local_model("a"))
    first = rig.manager.probe()
    assert rig.manager.probe() is first
    asked = rig.probes
    rig.engines.set("a", state="ready")
    assert rig.probes == asked + 1
    assert rig.manager.probe() is not first


async def test_only_models_in_our_own_folder_are_deleted_and_only_their_files(tmp_path: Path) -> None:
    own = tmp_path / "own"
    folder = own / "o" / "r"
    folder.mkdir(parents=True)
    elsewhere = tmp_path / "elsewhere.gguf"
    elsewhere.write_bytes(b"x")
    names = ("a-1.gguf", "a-2.gguf", "p.gguf", "b.gguf")
    for name in names:
        (folder / name).write_bytes(b"x")
    a1, a2, projector, b = (str(folder / name) for name in names)
    rig = Rig(
        local_model("a", path=a1, files=(a1, a2, projector, str(elsewhere)), store="own"),
        local_model("b", path=b, files=(b, projector), store="own"),
        local_model("hub", path="/hub/x.gguf", store="hub"),
        own_folder=own,
    )
    with pytest.raises(Conflict, match="another program"):
        await rig.manager.delete("hub")
    rig.engines.set("a", state="ready")
    with pytest.raises(Conflict, match="in use"):
        await rig.manager.delete("a")
    rig.engines.set("a", state="on-disk")
    await rig.manager.delete("a")
    assert sorted(path.name for path in folder.iterdir()) == ["b.gguf", "p.gguf"], "the other one needs it"
    assert elsewhere.exists()
    assert rig.catalog.refreshed == 1
    assert list(rig.catalog.models) == ["b", "hub"]
    await rig.manager.delete("b")
    assert not (own / "o").exists()
    assert own.exists()


def test_a_link_is_deleted_and_not_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "big.gguf").write_bytes(b"x")
    own = tmp_path / "own"
    own.mkdir()
    (own / "link.gguf").symlink_to(tmp_path / "big.gguf")
    delete_files(own, [own / "link.gguf", tmp_path / "own" / ".." / "big.gguf"])
    assert (tmp_path / "big.gguf").exists()
    assert not (own / "link.gguf").exists()


async def test_another_runner_in_the_settings_is_looked_for_and_the_end_closes_all() -> None:
    rig = Rig(local_model("a"))
    rig.manager.follow(LocalSettings())
    assert not rig.starter.did, "the same settings change nothing"
    rig.manager.follow(LocalSettings(runner="xllamacpp"))
    await asyncio.sleep(0)
    assert rig.starter.did == ["follow xllamacpp", "find"]
    assert rig.catalog.settings == rig.engines.settings == LocalSettings(runner="xllamacpp")
    await rig.manager.refresh()
    rig.manager.download_done()
    await asyncio.sleep(0)
    assert rig.catalog.refreshed == 2
    await rig.manager.close()
    assert rig.catalog.is_closed
    assert rig.engines.is_closed
    assert rig.downloads.is_closed
    rig.manager.download_done()
    assert rig.catalog.refreshed == 2
