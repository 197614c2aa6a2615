from pathlib import Path

import pytest

from local_models.engines_here import model_at
from meshlight.domain.config import LocalSettings
from meshlight.domain.errors import BadRequest
from meshlight.local_models.runners.base import Ending, FoundRunner, LaunchSettings
from meshlight.local_models.runners.mlx import Mlx


async def test_without_it_it_says_how_to_get_it() -> None:
    found = await Mlx({"PATH": ""}, version_of=lambda _: None).find(LocalSettings())
    assert (found.program, found.why_not, found.fix) == (
        (),
        "mlx-lm is not installed.",
        "Install it: pip install mlx-lm",
    )


def test_its_command() -> None:
    runner, model = Mlx({}), model_at(Path("/m/a b"), format="mlx")
    settings = LaunchSettings(port=1, key="k", context=512, args=("--temp", "0"))
    launch = runner.launch(FoundRunner(program=("mlx",)), model, settings)
    assert launch.argv[:3] == ("mlx", "--model", "/m/a b")
    assert launch.model_name == "default_model"
    assert launch.warm_up
    hostile = LaunchSettings(port=1, key="k", context=512, args=("--trust-remote-code",))
    with pytest.raises(BadRequest, match="--trust-remote-code"):
        runner.launch(FoundRunner(program=("mlx",)), model, hostile)
    assert runner.explain(Ending(exit_code=1, log=("No module named 'mlx'",)), model).code == "not-installed"
