from typing import Any

import pytest

from local_models.engines_here import program_of
from meshlight.local_models.runners import xllamacpp
from meshlight.local_models.runners.xllamacpp import parameters as translated
from meshlight.local_models.runners.xllamacpp_server import parameters

ASKED = {
    "model": "/m/a.gguf",
    "alias": "a",
    "host": "127.0.0.1",
    "port": 4321,
    "context": 1024,
    "purpose": "chat",
    "projector": "",
    "cache_ram_mib": 512,
    "set": {},
}


@pytest.fixture
def library() -> Any:
    program_of("xllamacpp")
    return pytest.importorskip("xllamacpp")


def test_it_is_told_all_that_matters(library: Any) -> None:
    params = parameters(library, ASKED, "secret")
    assert params.model.path == "/m/a.gguf"
    assert params.api_keys == ["secret"]
    assert params.hostnames == ["127.0.0.1"]
    assert (params.n_parallel, params.kv_unified, params.ui, params.offline) == (4, True, False, True)
    assert (params.n_ctx, params.cache_ram_mib, params.embedding) == (1024, 512, False)


def test_the_other_purposes(library: Any) -> None:
    embedding = parameters(library, ASKED | {"purpose": "embedding", "projector": "/m/p.gguf"}, "k")
    assert (embedding.embedding, embedding.n_batch, embedding.n_ubatch) == (True, 1024, 1024)
    assert embedding.mmproj.path == "/m/p.gguf"
    rerank = parameters(library, ASKED | {"purpose": "rerank"}, "k")
    assert rerank.pooling_type == library.llama_pooling_type.LLAMA_POOLING_TYPE_RANK


def test_every_option_that_is_translated_exists(library: Any) -> None:
    numbers = {flag: "1" for flag, (_, kind) in xllamacpp._SAME.items() if kind is not str}
    args = [f"{flag}={value}" for flag, value in numbers.items()]
    args += [*xllamacpp._SWITCHES, "--chat-template", "x", "-fa", "off", "--pooling", "last"]
    params = parameters(library, ASKED | {"set": translated(args)}, "k")
    assert params.sampling.temp == 1.0
    assert params.cpuparams.n_threads == 1
