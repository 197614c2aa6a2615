"""What a real llama-server and a real mlx_lm.server tell of themselves, alone and as a router."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from meshlight.backends.base import Channel, ChannelDeps, Probe
from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import Backend, Kind
from meshlight.domain.errors import NotFound
from meshlight.domain.health import Answered
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream
from real.client_contract import HELLO
from real.engines import Engine, llama_server
from real.llama_modes import router_llama
from real.tiny_gguf import write_gguf

pytestmark = pytest.mark.real


async def look(kind: Kind, url: str, *, after_a_request: bool = False) -> Probe:
    """Probe a backend as the service does at first sight."""
    backend = Backend(id="b", name="b", kind=kind, ring="machine", url=url)
    upstream = Upstream(parse_address(url))
    channel: Channel | None = KINDS[kind].open_channel(
        ChannelDeps(backend, upstream, Upstream, lambda: 0.0, lambda: 0.0)
    )
    try:
        if channel is None:
            return await KINDS[kind].probe(upstream, backend, None)
        if after_a_request:
            channel.was_used = True
        return await channel.probe(backend, None)
    finally:
        upstream.close()


async def test_llama_server_tells_of_its_model_its_version_and_its_slots(llama: Engine) -> None:
    probe = await look("llamacpp", llama.url, after_a_request=True)
    assert isinstance(probe.fact, Answered)
    assert probe.details is not None
    detail = probe.details[llama.model]
    assert (detail.context, detail.loaded, detail.quantization) == (2048, True, "F16")
    assert detail.parameters.endswith("K")
    assert detail.capabilities[:2] == ("chat", "completion")
    assert probe.about is not None
    assert probe.about["Version"].startswith("b")
    assert probe.about["Slots"].endswith(" of 4 busy")


async def test_looking_at_a_router_tells_what_is_loaded_and_loads_nothing(tmp_path: Path) -> None:
    llama_server()  # skips before anything is made
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("tiny-a", "tiny-b"):
        write_gguf(folder / f"{name}.gguf", name)
    with router_llama(folder) as engine:
        for _ in range(2):
            probe = await look("llamacpp", engine.url)
            assert probe.details is not None
            assert [probe.details[name].loaded for name in ("tiny-a", "tiny-b")] == [False, False]
        async with httpx.AsyncClient(base_url=engine.url, timeout=30) as http:
            body = {"model": "tiny-b", "messages": HELLO, "max_tokens": 2}
            (await http.post("/v1/chat/completions", json=body)).raise_for_status()
        probe = await look("llamacpp", engine.url)
    assert probe.details is not None
    assert [probe.details[name].loaded for name in ("tiny-a", "tiny-b")] == [False, True]
    assert probe.details["tiny-b"].context == 2048
    assert probe.about is not None
    assert probe.about["Loaded"] == "1 of 2 models, at most 4 at a time"


async def test_a_router_loads_and_unloads_what_it_is_asked_to(tmp_path: Path) -> None:
    llama_server()
    folder = tmp_path / "models"
    folder.mkdir()
    for name in ("tiny-a", "tiny-b"):
        write_gguf(folder / f"{name}.gguf", name)
    with router_llama(folder) as engine:
        router = Backend(id="a", name="a", kind="llamacpp", ring="machine", url=engine.url)
        upstream = Upstream(parse_address(engine.url))
        for _ in range(2):
            await KINDS["llamacpp"].load_model(upstream, router, None, "tiny-b")
        probe = await look("llamacpp", engine.url)
        assert probe.can_load is True
        assert probe.details is not None
        assert probe.details["tiny-a"].loaded is False
        for _ in range(2):
            await KINDS["llamacpp"].unload_model(upstream, router, None, "tiny-b")
        for act in (KINDS["llamacpp"].load_model, KINDS["llamacpp"].unload_model):
            with pytest.raises(NotFound, match="a has no model 'nobody'"):
                await act(upstream, router, None, "nobody")
        upstream.close()


async def test_mlx_tells_nothing_but_names(mlx: Engine) -> None:
    probe = await look("mlx", mlx.url)
    assert isinstance(probe.fact, Answered)
    assert (probe.details, probe.about, probe.warnings) == (None, None, None)
