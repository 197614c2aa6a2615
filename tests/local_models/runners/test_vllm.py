from pathlib import Path

from local_models.engines_here import model_at
from meshlight.domain.config import LocalSettings
from meshlight.local_models.runners.base import Ending, FoundRunner, LaunchSettings
from meshlight.local_models.runners.vllm import Vllm

CHOSEN = LocalSettings(runner="vllm")


async def test_it_is_used_only_where_it_is_chosen() -> None:
    runner = Vllm({"PATH": ""}, version_of=lambda _: "0.33")
    assert (await runner.find(LocalSettings())).program == ()
    assert (await runner.find(CHOSEN)).program
    assert (await Vllm({}, version_of=lambda _: None).find(CHOSEN)).fix == "Install it: pip install vllm"


def test_its_command_hands_the_key_over_by_environment() -> None:
    settings = LaunchSettings(port=1, key="secret", context=4096)
    model = model_at(Path("/m/a"), format="safetensors")
    launch = Vllm({}).launch(FoundRunner(program=("vllm",)), model, settings)
    assert launch.argv[:5] == ("vllm", "serve", "/m/a", "--served-model-name", "owner/a:F16")
    assert launch.argv[-2:] == ("--max-model-len", "4096")
    assert launch.environ["VLLM_API_KEY"] == "secret"
    assert Vllm({}).explain(Ending(exit_code=1, log=("CUDA out of memory",)), model).code == "memory"
