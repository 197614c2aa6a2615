"""All runners, in the order in which they are preferred."""

from collections.abc import Mapping

from meshlight.local_models.runners.base import Runner
from meshlight.local_models.runners.llama_server import LlamaServer
from meshlight.local_models.runners.mlx import Mlx
from meshlight.local_models.runners.programs import Ask, ask, usual_folders
from meshlight.local_models.runners.vllm import Vllm
from meshlight.local_models.runners.xllamacpp import Xllamacpp


def all_runners(environ: Mapping[str, str], ask_program: Ask = ask) -> tuple[Runner, ...]:
    """Return one of each; `environ` is what their programs get (see `child_environment`)."""
    folders = usual_folders(environ)
    return (
        LlamaServer(environ, ask_program, folders),
        Xllamacpp(environ, ask_program),
        Mlx(environ, folders),
        Vllm(environ, folders),
    )
