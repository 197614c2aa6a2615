"""What is pulled by a name is known by that name when it is here."""

from pathlib import Path

import pytest

from local_models.catalog.model_files import LLAMA, PROJECTOR, gguf, write_parts
from local_models.catalog.test_scanner import look
from local_models.downloads.rig import Queue
from meshlight.local_models.catalog.ids import Names
from servers.fake_hub import FakeHub, Repository

BF16 = gguf({**LLAMA, "general.file_type": 32})
SMALL, LARGE = (gguf({**LLAMA, "general.name": name}) for name in ("small", "large"))


def parts(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in write_parts(folder, "big-Q5_K_M", 3)}


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("me/x:Q4_K_M", {"x-Q4_K_M.gguf": SMALL, "x-Q8_0.gguf": LARGE}),
        ("me/x:Q8_0", {"x.Q8_0.gguf": SMALL, "mmproj-x-f16.gguf": gguf(PROJECTOR)}),
        ("me/x:UD-Q4_K_XL", {"UD-Q4_K_XL/x-UD-Q4_K_XL.gguf": SMALL}),
        ("me/x:BF16", {"BF16/x.gguf": BF16}),
        ("me/x", {"model.gguf": SMALL}),
        ("me/x:Q5_K_M", {}),
    ],
)
async def test_the_name_that_was_pulled_finds_the_model(
    tmp_path: Path, name: str, files: dict[str, bytes]
) -> None:
    async with FakeHub(me__x=Repository(files or parts(tmp_path / "made"))) as hub:
        queue = Queue(hub, tmp_path / "models")
        await queue.queue.pull(name)
        await queue.until_done()
        await queue.queue.close()
    found = look(tmp_path / "models")
    model = Names(found.models).find(queue.done[0])
    assert model is not None
    assert found.rejected == ()
    assert queue.done == [name]
    assert model.id in {name, f"{name}:Q4_K_M"}
    assert len(model.files) == len(queue.files)
