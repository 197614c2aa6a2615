"""The list of downloads: order, pause, cancel, restart; and what lies on the disk afterwards."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from local_models.downloads.rig import MemoryState, Queue, noise, part_sizes
from local_models.downloads.tiny_wheel import FILE, MEMBER, make_wheel, pip_environment
from meshlight.domain.errors import BackendCheckFailed, BadRequest, Conflict, NotFound
from meshlight.domain.local_views import RepositoryFile
from meshlight.local_models.downloads.fetch import Fetcher
from meshlight.local_models.downloads.package_index import PackageIndex
from meshlight.local_models.downloads.queue import PARTS_FOLDER, EnginePort
from meshlight.local_models.downloads.starters import Starter
from meshlight.local_models.interfaces import Downloads
from meshlight.local_models.runners.xllamacpp_wheels import FOLDER as ENGINE_FOLDER
from meshlight.local_models.runners.xllamacpp_wheels import PinnedWheel
from servers.fake_hub import TOKEN, FakeHub, Fault, Repository

DATA = noise(300_000)
SEEING = {
    "x-Q4_K_M-00001-of-00002.gguf": noise(100_000, 1),
    "x-Q4_K_M-00002-of-00002.gguf": noise(100_000, 2),
    "mmproj-x-F16.gguf": noise(50_000, 3),
    "x-Q8_0.gguf": noise(400_000, 4),
}
WHEEL_DATA, WHEEL = make_wheel()
STARTER = Starter(
    name="starter",
    label="Tiny",
    repository="o/r-GGUF",
    file="model-Q4_1.gguf",
    size=len(MEMBER),
    sha256=WHEEL.member_sha256,
    licence="MIT",
    good_for="Tests.",
    model="o/r-GGUF:Q4_1",
    wheel=WHEEL,
)


@pytest.fixture
async def hub() -> AsyncIterator[FakeHub]:
    repositories = {
        "me__tiny": Repository({"tiny-Q4_0.gguf": DATA}),
        "me__other": Repository({"other-Q4_0.gguf": noise(1000, 5)}),
        "me__seeing": Repository(SEEING),
        "me__choice": Repository({"x-Q5_0.gguf": b"5", "x-Q8_0.gguf": b"8"}),
        "me__gated": Repository({"x-Q4_0.gguf": noise(1000, 6)}, is_gated=True),
    }
    async with FakeHub(**repositories) as hub:
        yield hub


async def test_a_model_arrives_in_its_own_folder(hub: FakeHub, tmp_path: Path) -> None:
    queue = Queue(hub, tmp_path)
    downloads: Downloads = queue.queue
    begun = await downloads.pull("me/tiny")
    assert (begun.name, begun.state, begun.total_bytes) == ("me/tiny:Q4_0", "queued", len(DATA))
    await queue.until_done()
    assert queue.done == ["me/tiny:Q4_0"]
    assert queue.files == ["me/tiny/tiny-Q4_0.gguf"]
    assert (tmp_path / "me/tiny/tiny-Q4_0.gguf").read_bytes() == DATA
    view = downloads.views()[0]
    assert (view.state, view.done_bytes, view.model) == ("done", len(DATA), "me/tiny:Q4_0")
    await downloads.close()
    assert queue.state.data == b"[]"


async def test_all_parts_and_the_projector_come_along_and_the_first_part_is_placed_last(
    hub: FakeHub, tmp_path: Path
) -> None:
    queue = Queue(hub, tmp_path)
    gate = asyncio.Event()
    hub.faults.extend([Fault(), Fault(), Fault(cut_after=10, waits=gate)])
    view = await queue.queue.pull("https://huggingface.co/me/seeing/blob/main/x-Q4_K_M-00001-of-00002.gguf")
    assert view.total_bytes == 250_000
    while len(hub.file_requests) < 3:
        hub.arrived.clear()
        await hub.arrived.wait()
    assert not (tmp_path / "me").exists(), "nothing that looks like a model before all is here"
    gate.set()
    await queue.until_done()
    await queue.queue.close()
    names = ["mmproj-x-F16.gguf", "x-Q4_K_M-00001-of-00002.gguf", "x-Q4_K_M-00002-of-00002.gguf"]
    assert queue.files == [f"me/seeing/{name}" for name in names]


async def test_what_a_repository_offers_is_told_with_its_fit(hub: FakeHub, tmp_path: Path) -> None:
    queue = Queue(hub, tmp_path, fits=("never", 7))
    view = await queue.queue.repository("hf.co/me/seeing")
    await queue.queue.close()
    assert view.name == "me/seeing"
    assert view.files[0] == RepositoryFile(
        name="me/seeing:Q4_K_M",
        quantization="Q4_K_M",
        size_bytes=250_000,
        parts=2,
        fits="never",
        short_bytes=7,
        sees_images=True,
    )


async def test_one_comes_after_the_other(hub: FakeHub, tmp_path: Path) -> None:
    gate = asyncio.Event()
    hub.faults.append(Fault(cut_after=10, waits=gate))
    queue = Queue(hub, tmp_path)
    await queue.queue.pull("me/tiny")
    await hub.arrived.wait()
    await queue.queue.pull("me/other")
    assert [(view.name, view.state) for view in queue.queue.views()] == [
        ("me/tiny:Q4_0", "running"),
        ("me/other:Q4_0", "queued"),
    ]
    gate.set()
    await queue.until_done(2)
    await queue.queue.close()
    assert queue.done == ["me/tiny:Q4_0", "me/other:Q4_0"]


async def test_what_is_on_its_way_is_not_begun_twice(hub: FakeHub, tmp_path: Path) -> None:
    queue = Queue(hub, tmp_path)
    first = await queue.queue.pull("me/tiny")
    assert (await queue.queue.pull("me/tiny:q4_0")).id == first.id
    await queue.until_done()
    again = await queue.queue.pull("me/tiny")
    await queue.until_done(2)
    await queue.queue.close()
    assert [view.id for view in queue.queue.views()] == [again.id]
    assert len(hub.file_requests) == 1, "what is here is checked, and not fetched"


async def test_asked_for_by_many_at_once_it_is_one_download(hub: FakeHub, tmp_path: Path) -> None:
    queue = Queue(hub, tmp_path)
    asked = await asyncio.gather(*(queue.queue.pull("me/tiny") for _ in range(4)))
    await queue.until_done()
    await queue.queue.close()
    assert {view.id for view in asked} == {view.id for view in queue.queue.views()}
    assert len(hub.file_requests) == 1


async def test_paused_it_stays_and_resumed_it_goes_on_at_the_byte(hub: FakeHub, tmp_path: Path) -> None:
    never = asyncio.Event()
    hub.faults.append(Fault(cut_after=100_000, waits=never))
    queue = Queue(hub, tmp_path)
    begun = await queue.queue.pull("me/tiny")
    await queue.until_begun()
    assert (await queue.queue.pause(begun.id)).state == "paused"
    kept = part_sizes(tmp_path / ".downloads")[0]
    await queue.queue.pull("me/other")
    await queue.until_done()
    assert queue.done == ["me/other:Q4_0"], "a paused one holds up nobody"
    assert (await queue.queue.resume(begun.id)).state == "queued"
    await queue.until_done(2)
    await queue.queue.close()
    never.set()
    assert f"bytes={kept}-" in hub.ranges


async def test_cancelled_it_leaves_nothing(hub: FakeHub, tmp_path: Path) -> None:
    never = asyncio.Event()
    hub.faults.append(Fault(cut_after=100_000, waits=never))
    queue = Queue(hub, tmp_path)
    begun = await queue.queue.pull("me/tiny")
    await queue.until_begun()
    await queue.queue.cancel(begun.id)
    never.set()
    assert queue.queue.views() == []
    assert queue.files == []
    for act in (queue.queue.pause, queue.queue.resume, queue.queue.cancel):
        with pytest.raises(NotFound):
            await act(begun.id)
    await queue.queue.close()
    assert queue.done == []


async def test_the_next_service_goes_on_where_this_one_was(hub: FakeHub, tmp_path: Path) -> None:
    never = asyncio.Event()
    hub.faults.append(Fault(cut_after=100_000, waits=never))
    first = Queue(hub, tmp_path)
    await first.queue.pull("me/tiny")
    paused = await first.queue.pull("me/other")
    await first.queue.pause(paused.id)
    await first.until_begun()
    await first.queue.close()
    never.set()
    kept = part_sizes(tmp_path / ".downloads")[0]
    second = Queue(hub, tmp_path, state=first.state)
    second.queue.start()
    await second.until_done()
    assert [(view.name, view.state) for view in second.queue.views()] == [
        ("me/other:Q4_0", "paused"),
        ("me/tiny:Q4_0", "done"),
    ]
    await second.queue.close()
    assert hub.ranges[-1] == f"bytes={kept}-"


@pytest.mark.parametrize(
    "stored",
    [
        b"nonsense",
        b"{}",
        b'[{"id":"1"}]',
        msgspec.json.encode(
            [
                {
                    "id": "1", "name": "a/b", "repository": "../..", "model": "a/b",
                    "files": [{"path": "x.gguf", "place": "x.gguf", "size": 1, "sha256": "0" * 64}],
                }
            ]
        ),
        msgspec.json.encode(
            [
                {
                    "id": "1", "name": "a/b", "repository": "a/b", "model": "a/b",
                    "files": [{"path": "x.gguf", "place": "../x.gguf", "size": 1, "sha256": "0" * 64}],
                }
            ]
        ),
    ],
)  # fmt: skip
async def test_a_list_that_was_damaged_begins_empty(hub: FakeHub, tmp_path: Path, stored: bytes) -> None:
    state = MemoryState()
    state.data = stored
    queue = Queue(hub, tmp_path, state=state)
    queue.queue.start()
    assert queue.queue.views() == []
    await queue.queue.close()


async def test_a_failure_is_told_and_resume_tries_again(hub: FakeHub, tmp_path: Path) -> None:
    hub.faults.append(Fault(status=418, at_hub=True))
    queue = Queue(hub, tmp_path)
    await queue.queue.pull("me/tiny")
    failed = await queue.until("failed")
    assert failed.reason is not None
    assert failed.reason.code == "hub-refused"
    assert (await queue.queue.pull("me/tiny")).id == failed.id, "asked for again, it is resumed"
    await queue.until_done()
    await queue.queue.close()


async def test_what_the_hub_changed_during_a_pause_is_listed_anew(hub: FakeHub, tmp_path: Path) -> None:
    never = asyncio.Event()
    hub.faults.append(Fault(cut_after=100_000, waits=never))
    queue = Queue(hub, tmp_path)
    begun = await queue.queue.pull("me/tiny")
    await queue.until_begun()
    await queue.queue.pause(begun.id)
    never.set()
    new = noise(200_000, 9)
    hub.repositories["me/tiny"].files["tiny-Q4_0.gguf"] = new
    await queue.queue.resume(begun.id)
    await queue.until_done()
    await queue.queue.close()
    assert (tmp_path / "me/tiny/tiny-Q4_0.gguf").read_bytes() == new
    assert queue.files == ["me/tiny/tiny-Q4_0.gguf"]


async def test_what_can_not_begin_is_refused_at_once(hub: FakeHub, tmp_path: Path) -> None:
    queue = Queue(hub, tmp_path)
    with pytest.raises(Conflict, match="several models"):
        await queue.queue.pull("me/choice")
    with pytest.raises(NotFound, match="no model Q2_K"):
        await queue.queue.pull("me/choice:Q2_K")
    with pytest.raises(NotFound, match="There is no me/nothing"):
        await queue.queue.pull("me/nothing")
    with pytest.raises(BackendCheckFailed, match="is not open to everybody"):
        await queue.queue.pull("me/gated")
    with pytest.raises(BadRequest, match="Ollama"):
        await queue.queue.pull("qwen3:8b")
    assert queue.queue.views() == []
    await queue.queue.close()


async def test_a_disk_without_room_refuses_with_the_numbers(hub: FakeHub, tmp_path: Path) -> None:
    queue = Queue(hub, tmp_path, free=50_000_000)
    with pytest.raises(Conflict, match="me/tiny:Q4_0 needs 100 MB on the disk, and 50 MB are free"):
        await queue.queue.pull("me/tiny")
    await queue.queue.close()


async def test_a_gated_one_comes_with_the_token(hub: FakeHub, tmp_path: Path) -> None:
    queue = Queue(hub, tmp_path, token=TOKEN)
    await queue.queue.pull("me/gated")
    await queue.until_done()
    await queue.queue.close()
    assert TOKEN.encode() not in queue.state.data


async def test_one_that_is_asked_for_again_replaces_a_damaged_file(hub: FakeHub, tmp_path: Path) -> None:
    target = tmp_path / "me/tiny/tiny-Q4_0.gguf"
    target.parent.mkdir(parents=True)
    target.write_bytes(bytes(len(DATA)))
    queue = Queue(hub, tmp_path)
    await queue.queue.pull("me/tiny")
    await queue.until_done()
    await queue.queue.close()
    assert target.read_bytes() == DATA


async def test_a_folder_that_can_not_be_written_is_told(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "me").write_text("a file where the folder should be")
    queue = Queue(hub, tmp_path)
    await queue.queue.pull("me/tiny")
    failed = await queue.until("failed")
    await queue.queue.close()
    assert failed.reason is not None
    assert failed.reason.code == "disk"
    assert str(tmp_path) not in failed.reason.text


def engine_port(folder: Path, wheel: PinnedWheel = WHEEL) -> EnginePort:
    """Return the port of a machine that lacks an engine until one is unpacked."""

    async def look() -> None:
        pass

    return EnginePort(
        bytes=lambda: 0 if (folder / ENGINE_FOLDER).exists() else wheel.size,
        look=look,
        wheel=lambda: wheel,
        folder=folder,
    )


def wheel_index(tmp_path: Path) -> PackageIndex:
    """Return an index that has the wheel."""
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / FILE).write_bytes(WHEEL_DATA)
    environ = pip_environment(tmp_path, NO_INDEX="1", FIND_LINKS=str(tmp_path / "wheels"))
    return PackageIndex(Fetcher(), environ=environ)


async def test_a_starter_brings_the_engine_along(hub: FakeHub, tmp_path: Path) -> None:
    engines = tmp_path / "engines"
    port, index = engine_port(engines), wheel_index(tmp_path)
    queue = Queue(hub, tmp_path / "models", index=index, starters=[STARTER], engine=port)
    offer = queue.queue.starters()[0]
    assert offer.engine_bytes == WHEEL.size
    assert "Its engine comes along: xllamacpp" in offer.good_for
    view = await queue.queue.pull("starter")
    assert view.total_bytes == STARTER.size + WHEEL.size
    await queue.until_done()
    assert (engines / ENGINE_FOLDER / "pkg/model.gguf").read_bytes() == MEMBER
    assert queue.files == ["o/r-GGUF/model-Q4_1.gguf"]
    assert queue.queue.starters()[0].engine_bytes == 0
    with pytest.raises(Conflict, match="here already"):
        await queue.queue.pull("engine")
    await queue.queue.close()


async def test_an_engine_alone(hub: FakeHub, tmp_path: Path) -> None:
    queue = Queue(
        hub, tmp_path / "models", index=wheel_index(tmp_path), engine=engine_port(tmp_path / "engines")
    )
    await queue.queue.pull("engine")
    done = await queue.until("done")
    await queue.queue.close()
    assert (done.name, done.model, done.done_bytes) == ("engine", "", WHEEL.size)
    assert (tmp_path / "engines" / ENGINE_FOLDER / "pkg/model.gguf").exists()


async def test_an_engine_that_can_not_be_unpacked_stays_here_for_the_next_try(
    hub: FakeHub, tmp_path: Path
) -> None:
    (tmp_path / "engines").write_text("a file where the folder should be")
    index = PackageIndex(Fetcher(), environ=pip_environment(tmp_path, NO_INDEX="1", FIND_LINKS=str(tmp_path)))
    queue = Queue(hub, tmp_path / "models", index=index, engine=engine_port(tmp_path / "engines"))
    kept = tmp_path / "models" / PARTS_FOLDER / f"{WHEEL.sha256}.whole"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(WHEEL_DATA)
    view = await queue.queue.pull("engine")
    failed = await queue.until("failed")
    assert failed.reason is not None
    assert "the folder for engines" in failed.reason.fix
    (tmp_path / "engines").unlink()
    await queue.queue.resume(view.id)
    await queue.until("done")
    await queue.queue.close()
    assert not kept.exists()


async def test_another_engine_than_the_known_one_is_not_used(hub: FakeHub, tmp_path: Path) -> None:
    wrong = replace(WHEEL, sha256="0" * 64)
    port = engine_port(tmp_path / "engines", wrong)
    queue = Queue(hub, tmp_path / "models", index=wheel_index(tmp_path), starters=[STARTER], engine=port)
    await queue.queue.pull("starter")
    failed = await queue.until("failed")
    await queue.queue.close()
    assert failed.reason is not None
    assert failed.reason.code == "wrong-hash"
    assert not (tmp_path / "engines").exists()
    assert queue.files == []


async def test_the_starter_comes_out_of_a_wheel(hub: FakeHub, tmp_path: Path) -> None:
    queue = Queue(hub, tmp_path / "models", index=wheel_index(tmp_path), starters=[STARTER])
    assert not queue.queue.starters()[0].is_here
    await queue.queue.pull("starter")
    await queue.until_done()
    await queue.queue.close()
    assert queue.files == ["o/r-GGUF/model-Q4_1.gguf"]
    assert (tmp_path / "models/o/r-GGUF/model-Q4_1.gguf").read_bytes() == MEMBER
    assert queue.queue.starters()[0].is_here
    assert (tmp_path / "wheels" / FILE).exists(), "what lies on this machine is not ours to delete"
