import json
import os
from functools import partial
from pathlib import Path

import pytest

from local_models.engines_here import model_at, program_of
from meshlight.domain.config import LocalSettings
from meshlight.domain.errors import BadRequest
from meshlight.local_models.runners.base import FoundRunner, LaunchSettings
from meshlight.local_models.runners.programs import Answer, ask
from meshlight.local_models.runners.xllamacpp import Xllamacpp, parameters
from meshlight.local_models.runners.xllamacpp_wheels import WHEELS, PinnedWheel


async def test_it_tells_why_it_can_not_be_used() -> None:
    wheel = WHEELS["linux", "x86_64"]
    runner = Xllamacpp({}, ask, find_package=lambda: None, avx2=lambda: True, wheel=lambda: wheel)
    found = await runner.find(LocalSettings())
    assert (found.program, found.fix) == ((), "Get it (34 MB): meshlight models pull engine")
    assert found.download_bytes == wheel.size
    for has_avx2, fitting in ((1, dict[int, PinnedWheel]()), (0, {0: wheel})):
        runner = Xllamacpp(
            {}, ask, find_package=lambda: None, avx2=partial(bool, has_avx2), wheel=partial(fitting.get, 0)
        )
        found = await runner.find(LocalSettings())
        assert found.fix == "Install it for this Python: pip install 'meshlight[local]'"
        assert found.download_bytes == 0
    runner = Xllamacpp({}, ask, find_package=lambda: ("/x", "1"), avx2=lambda: False)
    found = await runner.find(LocalSettings())
    assert found.program == ()
    assert "AVX2" in found.why_not
    unknown = Xllamacpp({}, ask, find_package=lambda: ("/x", "1"), avx2=lambda: None)
    assert (await unknown.find(LocalSettings())).program


async def test_the_devices_are_the_gpus() -> None:
    said = 'ggml_cuda_init: found\n[{"name": "CUDA0: A", "total_bytes": 9, "free_bytes": 5}]\n'

    async def answer(_argv: object, _environ: object) -> Answer:
        return Answer(0, said)

    (device,) = await Xllamacpp({}, answer).devices(FoundRunner(program=("x",)))
    assert (device.name, device.free_bytes) == ("CUDA0: A", 5)
    said = "nonsense"
    assert list(await Xllamacpp({}, answer).devices(FoundRunner(program=("x",)))) == []
    assert list(await Xllamacpp({}, answer).devices(FoundRunner())) == []


async def test_the_real_one_lists_its_devices() -> None:
    program_of("xllamacpp")
    runner = Xllamacpp(dict(os.environ), ask)
    found = await runner.find(LocalSettings())
    assert found.version
    assert (await ask(found.program, {})).text.strip().startswith("[")


def test_the_key_is_no_argument() -> None:
    settings = LaunchSettings(port=1, key="secret", context=512, args=("--temp", "0"))
    launch = Xllamacpp({}, ask).launch(FoundRunner(program=("p",)), model_at(Path("/m/a.gguf")), settings)
    asked = json.loads(launch.argv[-1])
    assert asked["model"] == "/m/a.gguf"
    assert asked["host"] == "127.0.0.1"
    assert asked["set"] == {"sampling.temp": 0.0}
    assert "secret" not in str(launch.argv)
    assert launch.environ == {"LLAMA_API_KEY": "secret"}


def test_llama_servers_arguments_are_translated() -> None:
    args = [
        "--temperature=0.5",
        "-ngl",
        "-1",
        "-fa",
        "on",
        "--context-shift",
        "-np",
        "2",
        "--pooling",
        "mean",
    ]
    assert parameters(args) == {
        "sampling.temp": 0.5,
        "n_gpu_layers": -1,
        "flash_attn_type": ["llama_flash_attn_type", "LLAMA_FLASH_ATTN_TYPE_ENABLED"],
        "ctx_shift": True,
        "n_parallel": 2,
        "pooling_type": ["llama_pooling_type", "LLAMA_POOLING_TYPE_MEAN"],
    }


@pytest.mark.parametrize(
    "args",
    [["--temp", "hot"], ["--temp"], ["--mirostat", "2"], ["-fa", "perhaps"], ["--host", "x"], ["--mlock"]],
)
def test_what_it_can_not_do_is_refused(args: list[str]) -> None:
    with pytest.raises(BadRequest):
        parameters(args)
