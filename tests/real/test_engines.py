"""The promises at real engines directly: what holds here must hold through the gateway."""

from __future__ import annotations

import httpx
import pytest

from real import client_contract as promises
from real.client_contract import Promise, name_of
from real.engines import Engine, free_port, running_llama
from real.subject import Subject
from real.tiny_gguf import write_gguf

pytestmark = pytest.mark.real


@pytest.mark.parametrize("promise", promises.LLAMA, ids=name_of)
async def test_llama_server_answered_directly_keeps_the_promise_that(promise: Promise, llama: Engine) -> None:
    await promise(Subject(f"{llama.url}/v1", llama.model), llama)


@pytest.mark.parametrize("promise", promises.MLX, ids=name_of)
async def test_mlx_lm_server_answered_directly_keeps_the_promise_that(promise: Promise, mlx: Engine) -> None:
    await promise(Subject(f"{mlx.url}/v1", mlx.model), mlx)


def test_llama_server_refuses_connections_when_killed_and_answers_again_on_the_same_port(
    tmp_path_factory: pytest.TempPathFactory, llama: Engine
) -> None:
    del llama  # only so that this is skipped where it is
    model_file = write_gguf(tmp_path_factory.mktemp("again") / "tiny-b.gguf", "tiny-b")
    port = free_port()
    with running_llama(model_file, "tiny-b", port=port) as first:
        first.kill()
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{first.url}/health", trust_env=False, timeout=30.0)
    with running_llama(model_file, "tiny-b", port=port) as second:
        assert (
            httpx.get(f"{second.url}/v1/models", trust_env=False, timeout=30.0).json()["data"][0]["id"]
            == "tiny-b"
        )


def test_llama_server_with_a_key_wants_it(tmp_path_factory: pytest.TempPathFactory, llama: Engine) -> None:
    del llama
    model_file = write_gguf(tmp_path_factory.mktemp("key") / "tiny-c.gguf", "tiny-c")
    with running_llama(model_file, "tiny-c", key="its-own-key") as engine:
        ask = f"{engine.url}/v1/embeddings"
        refused = httpx.post(ask, json={"input": "a"}, trust_env=False, timeout=30.0)
        allowed = httpx.post(
            ask,
            json={"input": "a"},
            headers={"authorization": "Bearer its-own-key"},
            trust_env=False,
            timeout=30.0,
        )
    assert (refused.status_code, allowed.status_code) == (401, 200)
