from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from local_models.engines_here import model_at
from meshlight.domain.config import LocalSettings
from meshlight.domain.errors import BadRequest
from meshlight.local_models.runners.base import FoundRunner, LaunchSettings
from meshlight.local_models.runners.llama_server import LlamaServer
from meshlight.local_models.runners.programs import Answer

VERSION = "version: 7210 (abc123)\nbuilt with clang"
SETTINGS = LaunchSettings(port=4321, key="secret", context=8192)


class Programs:
    """Answers by the last name of a program, and counts the questions."""

    def __init__(self, **answers: Answer) -> None:
        self.answers = answers
        self.asked: list[tuple[str, ...]] = []

    async def __call__(self, argv: Sequence[str], _environ: Mapping[str, str]) -> Answer:
        self.asked.append((Path(argv[0]).name, *argv[1:]))
        return self.answers[Path(argv[0]).name.replace("-", "_")]


def install(folder: Path, *names: str) -> dict[str, str]:
    for name in names:
        (folder / name).write_bytes(b"\x7fELF")
        (folder / name).chmod(0o755)
    return {"PATH": str(folder)}


async def test_it_is_found_on_the_path_and_asked_once(tmp_path: Path) -> None:
    programs = Programs(llama_server=Answer(0, VERSION))
    runner = LlamaServer(install(tmp_path, "llama-server"), programs)
    found = await runner.find(LocalSettings())
    assert found.program == (str(tmp_path / "llama-server"),)
    assert found.version == "7210 (abc123)"
    assert await runner.find(LocalSettings()) == found
    assert programs.asked == [("llama-server", "--version")]


async def test_llama_with_serve_stands_in_where_llama_server_is_broken(tmp_path: Path) -> None:
    broken = Answer(127, "error while loading shared libraries: libcuda.so.1: cannot open")
    environ = install(tmp_path, "llama-server", "llama")
    runner = LlamaServer(environ, Programs(llama_server=broken, llama=Answer(0, VERSION)))
    assert (await runner.find(LocalSettings())).program == (str(tmp_path / "llama"), "serve")
    runner = LlamaServer(environ, Programs(llama_server=broken, llama=Answer(0, "Llama 3, the game")))
    found = await runner.find(LocalSettings())
    assert not found.program
    assert "libcuda.so.1" in found.why_not


async def test_the_setting_is_tried_alone_and_its_path_not_told(tmp_path: Path) -> None:
    environ = install(tmp_path, "llama-server", "mine")
    runner = LlamaServer(environ, Programs(mine=Answer(0, VERSION), llama_server=Answer(0, VERSION)))
    found = await runner.find(LocalSettings(llama_server=str(tmp_path / "mine")))
    assert found.program == (str(tmp_path / "mine"),)
    for wrong in (str(tmp_path / "absent"), "mine", "~nobody-here/mine"):
        found = await runner.find(LocalSettings(llama_server=wrong))
        assert not found.program
        assert str(tmp_path) not in found.why_not
        assert found.fix


async def test_a_slow_program_is_asked_again(tmp_path: Path) -> None:
    programs = Programs(llama_server=Answer(None))
    runner = LlamaServer(install(tmp_path, "llama-server"), programs)
    assert (await runner.find(LocalSettings())).why_not
    programs.answers["llama_server"] = Answer(0, VERSION)
    assert (await runner.find(LocalSettings())).program


async def test_without_one_it_says_how_to_get_it() -> None:
    found = await LlamaServer({"PATH": ""}, Programs()).find(LocalSettings())
    assert "brew install llama.cpp" in found.fix
    assert list(await LlamaServer({}, Programs()).devices(found)) == []


def test_the_command_of_each_purpose() -> None:
    runner, found = LlamaServer({}, Programs()), FoundRunner(program=("/x/llama", "serve"))
    chat = runner.launch(found, model_at(Path("/m/a b.gguf"), projector="/m/mmproj.gguf"), SETTINGS)
    assert chat.argv[:4] == ("/x/llama", "serve", "-m", "/m/a b.gguf")
    assert chat.argv[-4:] == ("-c", "8192", "--mmproj", "/m/mmproj.gguf")
    assert chat.environ["LLAMA_API_KEY"] == "secret"
    assert "secret" not in repr(chat)
    assert "-np" not in chat.argv
    embedding = runner.launch(found, model_at(Path("/m/e.gguf"), purpose="embedding"), SETTINGS)
    assert embedding.argv[-5:] == ("--embeddings", "-b", "8192", "-ub", "8192")
    rerank = runner.launch(found, model_at(Path("/m/r.gguf"), purpose="rerank"), SETTINGS)
    assert "--reranking" in rerank.argv
    with pytest.raises(BadRequest, match="--host"):
        runner.launch(
            found,
            model_at(Path("/m/e.gguf")),
            LaunchSettings(port=1, key="", context=512, args=("--host", "0.0.0.0")),
        )
