"""What a real llama-server (b11434) was seen to answer."""

from typing import Any

import pytest

from backends.playback import Playback, answer, backend, detect, probe, probe_answer
from meshlight.backends.kinds import KINDS
from meshlight.domain.health import Answered, Failed, Loading, Refused
from meshlight.http_client.address import parse_address
from meshlight.http_client.client import Upstream

LLAMACPP = KINDS["llamacpp"]
SIGNED = {"Server": "llama.cpp", "Access_Control_Allow_Origin": ""}


def signed(body: object, status: int = 200, **headers: str) -> bytes:
    return answer(body, status, **SIGNED, **headers)


def model(name: str, **fields: Any) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1795520272, "owned_by": "llamacpp", **fields}


ONE = {
    "models": [{"name": "tiny-a", "model": "tiny-a", "type": "model", "capabilities": ["completion"]}],
    "object": "list",
    "data": [model("tiny-a", aliases=["tiny-a"], meta={"n_ctx": 2048})],
}
ROUTER = {
    "data": [
        model(
            name,
            status={
                "value": "unloaded",
                "args": ["/opt/llama-server", "--alias", name, "--model", f"models/{name}.gguf"],
                "preset": f"[{name}]\nmodel = models/{name}.gguf\n",
            },
            source="models_dir",
        )
        for name in ("tiny-a", "tiny-b")
    ],
    "object": "list",
}
LOADING = signed(
    {"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}, 503, Connection="close"
)
KEY_WANTED = signed(
    {"error": {"message": "Invalid API Key", "type": "authentication_error", "code": 401}}, 401
)


async def test_it_is_recognised_by_one_request_with_its_models() -> None:
    async with Playback({"/v1/models": signed(ONE, Keep_Alive="timeout=5, max=100")}) as server:
        found = await detect(LLAMACPP, server.url)
        assert (found.kind, found.models) == ("llamacpp", ("tiny-a",))
        assert (found.url, found.name) == (server.url, f"llama.cpp :{server.port}")
        assert server.asked == ["/v1/models"]


async def test_a_router_shows_its_models_but_no_paths_and_arguments() -> None:
    async with Playback({"/v1/models": signed(ROUTER)}) as server:
        found = await detect(LLAMACPP, server.url)
        assert found.models == ("tiny-a", "tiny-b")
        assert "gguf" not in str(found)


@pytest.mark.parametrize("reply", [LOADING, KEY_WANTED])
async def test_it_is_recognised_while_loading_and_without_its_key(reply: bytes) -> None:
    async with Playback({"/v1/models": reply}) as server:
        found = await detect(LLAMACPP, server.url)
        assert (found.kind, found.models) == ("llamacpp", ())


async def test_it_is_recognised_behind_a_proxy_that_signs_for_itself() -> None:
    async with Playback({"/v1/models": answer(ONE, Server="nginx")}) as server:
        assert (await detect(LLAMACPP, server.url)).kind == "llamacpp"


@pytest.mark.parametrize(
    "reply",
    [
        answer({"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "vllm"}]}),
        answer({"error": "no"}, 404),
        answer(b"<html>", Content_Type="text/html"),
    ],
)
async def test_others_are_not_taken_for_it(reply: bytes) -> None:
    async with Playback({"/v1/models": reply}) as server:
        assert await detect(LLAMACPP, server.url) is None


async def test_a_probe_is_one_request_that_brings_latency_and_models() -> None:
    async with Playback({"/v1/models": signed(ONE)}) as server:
        upstream = Upstream(parse_address(server.url))
        for _ in range(2):
            probed = await LLAMACPP.probe(upstream, backend(LLAMACPP, server.url), None)
            assert isinstance(probed.fact, Answered)
            assert probed.fact.latency_s is not None
            assert 0 < probed.fact.latency_s < 1
            assert probed.models == ("tiny-a",)
        upstream.close()
        assert server.asked == ["/v1/models"] * 2


async def test_loading_is_warming_up_and_not_failing() -> None:
    fact = (await probe_answer(LLAMACPP, "/v1/models", LOADING)).fact
    assert isinstance(fact, Loading)
    assert "llama.cpp at 127.0.0.1" in fact.reason.text


async def test_the_key_goes_along_as_a_bearer_token() -> None:
    async with Playback({"/v1/models": signed(ONE)}) as server:
        await probe(LLAMACPP, server.url, "sk-x")
        assert "\r\nauthorization: Bearer sk-x\r\n" in server.heads[0]
    fact = (await probe_answer(LLAMACPP, "/v1/models", KEY_WANTED)).fact
    assert isinstance(fact, Refused)


async def test_another_engine_on_its_port_is_told() -> None:
    other = answer({"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "vllm"}]})
    probed = await probe_answer(LLAMACPP, "/v1/models", other)
    assert isinstance(probed.fact, Failed)
    assert probed.fact.reason.code == "not-this-kind"
    assert probed.models is None


async def test_a_server_without_models_is_healthy_and_has_none() -> None:
    probed = await probe_answer(LLAMACPP, "/v1/models", signed({"object": "list", "data": []}))
    assert isinstance(probed.fact, Answered)
    assert probed.models == ()


def test_it_speaks_what_its_server_has() -> None:
    assert all(
        LLAMACPP.speaks(operation) for operation in ("chat/completions", "embeddings", "rerank", "messages")
    )
    assert not LLAMACPP.speaks("images/generations")
