"""Ollama's API about this machine's own models, through Ollama's own client."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import msgspec
import ollama
import pytest
from msgspec.structs import replace
from ollama import AsyncClient

from gateway.fake_local_models import FOREIGN, QWEN, FakeLocalModels
from gateway.local_gateway import KEY, NOW, LocalGateway, running
from meshlight.domain.backend import Reason
from meshlight.domain.errors import Conflict, EveryRouteDown
from meshlight.domain.local_models import Demand
from meshlight.domain.local_views import DownloadState, DownloadView
from meshlight.gateway.inference.request import ClientLeft
from meshlight.gateway.models.ollama_local import OllamaLocal
from meshlight.simulator.engine import SimulatedEngine

ID = QWEN.id
NO_ROOM = Reason("no-memory", "It needs 5 GB and 2 GB are free.", "Unload another model.")


def at(state: DownloadState, done: int = 0, total: int = 100, reason: Reason | None = None) -> DownloadView:
    return DownloadView(id="", name="", state=state, done_bytes=done, total_bytes=total, reason=reason)


@pytest.fixture
def local() -> FakeLocalModels:
    return FakeLocalModels(QWEN, FOREIGN)


@pytest.fixture
async def gateway(local: FakeLocalModels) -> AsyncIterator[LocalGateway]:
    async with running(local) as gateway:
        yield gateway


@pytest.fixture
async def client(gateway: LocalGateway) -> AsyncIterator[AsyncClient]:
    headers = {"authorization": f"Bearer {KEY}"}
    async with AsyncClient(host=gateway.url, headers=headers, trust_env=False) as client:
        yield client


async def refused(asked: object) -> ollama.ResponseError:
    with pytest.raises(ollama.ResponseError) as caught:
        await asked  # type: ignore[misc]
    return caught.value


@pytest.mark.parametrize(
    "name", ["hf.co/owner/repo:Q4_K_M", "owner/repo:Q4_K_M", "huggingface.co/owner/repo:Q4_K_M"]
)
async def test_a_pull_tells_how_far_it_is(client: AsyncClient, local: FakeLocalModels, name: str) -> None:
    local.fake_downloads.plan = [
        at("running", 10),
        at("running", 10),
        at("running", 60),
        at("checking", 100),
        at("done", 100),
    ]
    told = [part async for part in await client.pull(name, stream=True)]
    assert local.downloads.views()[0].name == "owner/repo:Q4_K_M"
    statuses = [part.status for part in told]
    assert statuses[0] == "pulling manifest"
    assert statuses[-2:] == ["writing manifest", "success"]
    bars = [part for part in told if part.digest]
    assert [(part.completed, part.total) for part in bars] == [(10, 100), (60, 100), (100, 100)]
    assert len({part.digest for part in bars}) == 1


async def test_a_pull_without_a_stream_answers_when_it_is_here(
    client: AsyncClient, local: FakeLocalModels
) -> None:
    local.fake_downloads.plan = [at("running", 10), at("done", 100)]
    assert (await client.pull("starter")).status == "success"
    assert local.downloads.views()[0].name == "starter"
    assert ("refresh",) in local.calls, "what has arrived can be asked for at once"


@pytest.mark.parametrize("stream", [False, True])
async def test_a_pull_that_fails_on_the_way_ends_with_ollamas_error(
    client: AsyncClient, local: FakeLocalModels, stream: bool
) -> None:
    local.fake_downloads.plan = [
        at("running", 10),
        at("failed", 10, reason=Reason("disk-full", "The disk is full.", "Free 2 GB.")),
    ]
    if stream:
        parts = await client.pull("owner/repo", stream=True)
        with pytest.raises(ollama.ResponseError, match=r"The disk is full\. Free 2 GB\."):
            [part async for part in parts]
    else:
        assert "The disk is full. Free 2 GB." in (await refused(client.pull("owner/repo"))).error


async def test_a_pull_that_is_cancelled_elsewhere_ends(client: AsyncClient, local: FakeLocalModels) -> None:
    local.fake_downloads.plan = [at("running", 10), None]
    parts = await client.pull("owner/repo", stream=True)
    with pytest.raises(ollama.ResponseError, match="was cancelled"):
        [part async for part in parts]


async def test_a_pull_that_can_not_begin_is_refused_with_its_status(
    client: AsyncClient, local: FakeLocalModels
) -> None:
    library = await refused(client.pull("llama3.2"))
    assert library.status_code == 404
    assert "pull the model on the machine that shall run it" in library.error
    assert (await refused(client.pull("a\nb"))).status_code == 400
    assert (await refused(client.pull("a/" + "b" * 300))).status_code == 400
    local.fake_downloads.error = Conflict("owner/repo has several models.", "Name one: Q4_K_M, Q8_0.")
    several = await refused(client.pull("owner/repo"))
    assert (several.status_code, "Name one" in several.error) == (409, True)


async def test_a_client_that_leaves_ends_the_lines_and_not_the_download(
    client: AsyncClient, gateway: LocalGateway, local: FakeLocalModels
) -> None:
    local.fake_downloads.plan = [at("paused", 10)]
    parts = await client.pull("owner/repo", stream=True)
    assert (await anext(parts)).status == "pulling manifest"
    await parts.aclose()  # type: ignore[attr-defined]  # the client's iterator is a generator
    assert (await gateway.http.get("/mesh/models")).json()["downloads"][0]["state"] in {"queued", "paused"}


async def test_a_paused_download_is_not_silent_for_ever(client: AsyncClient, local: FakeLocalModels) -> None:
    local.fake_downloads.plan = [*[at("paused", 10)] * 100, at("done", 100)]
    told = [part.status async for part in await client.pull("owner/repo", stream=True)]
    assert 2 <= told.count("paused: owner/repo") <= 4


async def test_what_is_in_memory_is_listed_with_size_and_end(
    client: AsyncClient, gateway: LocalGateway, local: FakeLocalModels
) -> None:
    assert (await client.ps()).models == []
    local.models[ID] = replace(QWEN, state="ready", idle_s=1.0, expires_in_s=60.0)
    kept = replace(QWEN, id="kept", state="ready", keep=True)
    busy = replace(QWEN, id="busy", state="ready", in_flight=1)
    local.models |= {"kept": kept, "busy": busy}
    gateway.probe()
    found = {model.model: model for model in (await client.ps()).models}
    assert set(found) == {ID, "kept", "busy"}
    first = found[ID]
    assert (first.size, first.size_vram, first.context_length) == (5_000, 0, 8_192)
    assert first.expires_at == datetime.fromtimestamp(NOW + 60, UTC)
    assert first.details is not None
    assert (first.details.family, first.details.quantization_level) == ("qwen3", "Q4_K_M")
    assert found["kept"].expires_at is not None
    assert found["kept"].expires_at.year > 2200
    assert found["busy"].expires_at is None


async def test_models_of_other_backends_are_listed_beside_them(
    client: AsyncClient, gateway: LocalGateway
) -> None:
    async with SimulatedEngine("ollama", "next", ("gemma",)) as engine:
        gateway.rig.add(engine, "gemma")
        assert {model.model for model in (await client.list()).models} == {ID, "borrowed", "gemma"}
    sizes = {model.model: model.size for model in (await client.list()).models}
    assert (sizes[ID], sizes["gemma"]) == (4_000, 0)


@pytest.mark.parametrize("name", [ID, f"hf.co/{ID}", f"this-machine/{ID}"])
async def test_a_model_is_shown_as_its_headers_describe_it(client: AsyncClient, name: str) -> None:
    shown = await client.show(name)
    assert shown.modelinfo is not None
    assert shown.modelinfo["general.architecture"] == "qwen3"
    assert shown.modelinfo["qwen3.context_length"] == 32_768
    assert shown.details is not None
    assert (shown.details.parameter_size, shown.details.quantization_level) == ("1.7B", "Q4_K_M")
    assert shown.capabilities == ["completion", "tools"]


async def test_an_embedding_model_and_one_that_sees_are_shown_as_such(
    client: AsyncClient, gateway: LocalGateway, local: FakeLocalModels
) -> None:
    local.models |= {
        "vectors": replace(QWEN, id="vectors", purpose="embedding"),
        "eyes": replace(QWEN, id="eyes", sees_images=True),
    }
    gateway.probe()
    assert (await client.show("vectors")).capabilities == ["embedding"]
    assert (await client.show("eyes")).capabilities == ["completion", "tools", "vision"]


async def test_only_files_of_our_own_folder_are_deleted(client: AsyncClient, local: FakeLocalModels) -> None:
    assert (await refused(client.delete("borrowed"))).status_code == 409
    missing = await refused(client.delete("nobody"))
    assert (missing.status_code, "model 'nobody' not found." in missing.error) == (404, True)
    assert (await client.delete(f"hf.co/{ID}")).status == "success"
    assert list(local.models) == ["borrowed"]


async def test_no_prompt_loads_and_no_prompt_with_no_time_unloads(
    client: AsyncClient, local: FakeLocalModels
) -> None:
    loaded = await client.generate(model=ID)
    assert (loaded.done, loaded.done_reason, loaded.model, loaded.response) == (True, "load", ID, "")
    assert local.models[ID].state == "ready"
    unloaded = await client.generate(model=ID, keep_alive=0)
    assert (unloaded.done_reason, local.models[ID].state) == ("unload", "on-disk")
    again = await client.generate(model=ID, keep_alive="0s")
    assert again.done_reason == "unload"
    chat = await client.chat(model=f"hf.co/{ID}", messages=[], keep_alive="10m")
    assert (chat.done_reason, chat.model) == ("load", f"hf.co/{ID}")
    assert local.calls == [
        ("load", ID, True),
        ("unload", ID, False),
        ("route", ID, Demand(keep_alive_s=600.0)),
    ]


async def test_a_load_is_waited_for(client: AsyncClient, local: FakeLocalModels) -> None:
    local.loading = asyncio.Event()
    asked = asyncio.create_task(client.generate(model=ID))
    await local.called.wait()
    assert not asked.done()
    local.loading.set()
    assert (await asked).done_reason == "load"


async def test_what_prevents_loading_and_unloading_is_told(
    client: AsyncClient, local: FakeLocalModels
) -> None:
    local.unfit = NO_ROOM
    full = await refused(client.generate(model=ID))
    assert (full.status_code, "It needs 5 GB" in full.error) == (503, True)
    local.unfit = None
    await client.generate(model=ID)
    local.busy.add(ID)
    busy = await refused(client.chat(model=ID, messages=[], keep_alive=0))
    assert (busy.status_code, "answers 1 request now" in busy.error) == (409, True)
    assert "keep_alive can't be" in (await refused(client.generate(model=ID, keep_alive="soon"))).error


async def test_a_request_with_a_prompt_goes_on_to_the_relay(local: FakeLocalModels) -> None:
    async with SimulatedEngine("llamacpp", "engine", (ID,)) as engine:
        local.url = engine.url
        async with running(local) as gateway:
            headers = {"authorization": f"Bearer {KEY}"}
            async with AsyncClient(host=gateway.url, headers=headers, trust_env=False) as client:
                answer = await client.generate(model=ID, prompt="hi", keep_alive="5m")
                assert answer.done_reason == "stop"
                assert answer.response
        assert engine.calls("/v1/chat/completions")
    assert local.calls == []


async def test_switched_off_there_is_nothing_to_pull_into() -> None:
    async with running(None) as gateway:
        headers = {"authorization": f"Bearer {KEY}"}
        async with AsyncClient(host=gateway.url, headers=headers, trust_env=False) as client:
            assert "no models of its own" in (await refused(client.pull("starter"))).error
            assert "deletes no models" in (await refused(client.delete("a"))).error


async def test_who_leaves_while_nothing_streams_is_not_waited_for(local: FakeLocalModels) -> None:
    looks = 0

    async def pause(_: float) -> None:
        nonlocal looks
        looks += 1

    api = OllamaLocal(local, pause=pause)
    with pytest.raises(ClientLeft):
        await api.pull(b'{"model":"starter","stream":false}', lambda: looks > 3)
    assert looks == 4
    assert [download.state for download in local.downloads.views()] == ["queued"]


async def test_when_the_service_ends_so_do_the_answers_that_follow_a_download(local: FakeLocalModels) -> None:
    async def pause(_: float) -> None:
        api.close()

    api = OllamaLocal(local, pause=pause)
    lines = await api.pull(b'{"model":"starter"}')
    assert not isinstance(lines, bytes)
    told = [msgspec.json.decode(line) async for line in lines]
    assert told[-1] == {"error": "The service is ending: it goes on at its next start."}
    with pytest.raises(EveryRouteDown, match="goes on at its next start"):
        await api.pull(b'{"model":"starter","stream":false}')
