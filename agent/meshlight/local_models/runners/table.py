"""All runners, in the order in which they are preferred."""

from collections.abc import Mapping
from pathlib import Path

from meshlight.local_models.runners.base import Runner
from meshlight.local_models.runners.llama_server import LlamaServer
from meshlight.local_models.runners.mlx import Mlx
from meshlight.local_models.runners.programs import Ask, ask, usual_folders
from meshlight.local_models.runners.vllm import Vllm
from meshlight.local_models.runners.xllamacpp import Xllamacpp, locate
from meshlight.local_models.runners.xllamacpp_wheels import locate_unpacked


def all_runners(
    environ: Mapping[str, str], ask_program: Ask = ask, engines_dir: Path | None = None
) -> tuple[Runner, ...]:
    """Return one of each; `environ` is what their programs get (see `child_environment`).

    `engines_dir` is where downloaded engines are.
    """

    def find_xllamacpp() -> tuple[str, str] | None:
        return locate() or (locate_unpacked(engines_dir) if engines_dir else None)

    folders = usual_folders(environ)
    return (
        LlamaServer(environ, ask_program, folders),
        Xllamacpp(environ, ask_program, find_package=find_xllamacpp),
        Mlx(environ, folders),
        Vllm(environ, folders),
    )
