"""Files become models, or are told why not."""

from pathlib import Path
from typing import Any

from local_models.catalog.model_files import (
    LLAMA,
    ONE,
    PROJECTOR,
    gguf,
    hub_file,
    write_gguf,
    write_parts,
    write_safetensors,
)
from meshlight.domain.local_models import StoreName
from meshlight.local_models.catalog.header_cache import HeaderCache
from meshlight.local_models.catalog.scanner import Scan, scan
from meshlight.local_models.catalog.stores import Place
from meshlight.local_models.catalog.walker import survey

BIG = [("a", (1024, 64))]


class NoStore:
    def read(self) -> bytes:
        return b""

    def write(self, data: bytes, /) -> None:
        """Nothing is kept."""


def look(folder: Path, store: StoreName = "own", *more: tuple[StoreName, Path]) -> Scan:
    places = [
        Place(store=name, label=where.name, folders=(str(where),)) for name, where in ((store, folder), *more)
    ]
    cache = HeaderCache(NoStore())
    return scan(survey(places), cache.of_file, cache.of_folder)


def why(found: Scan) -> dict[str, str]:
    return {file.name: file.why for file in found.rejected}


def test_every_field_of_a_model(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "owner" / "repo" / "Tiny-Q4_K_M.gguf", general__size_label="1.7B")
    ((model_id, model),) = look(tmp_path).models.items()
    assert model_id == model.id == "owner/repo:Q4_K_M"
    assert set(model.names) == {"owner/repo", "Tiny-Q4_K_M", "Tiny"}
    assert (model.format, model.path, model.files) == ("gguf", str(path), (str(path),))
    assert (model.size_bytes, model.store, model.purpose) == (path.stat().st_size, "own", "chat")
    assert (model.architecture, model.parameters, model.quantization) == ("llama", "1.7B", "Q4_K_M")
    assert (model.context_max, model.kv_bytes_per_token, model.vocabulary) == (4096, 128, 4)
    assert (model.has_chat_template, model.projector, model.pooling) == (True, "", 0)


def test_without_a_label_the_size_is_counted(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a.gguf", LLAMA, [("a", (1000, 1000, 3))])
    assert look(tmp_path).models["a"].parameters == "3M"


def test_quantizations_of_a_repository_are_several_models(tmp_path: Path) -> None:
    for name in ("m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-UD-Q4_K_XL.gguf"):
        hub_file(tmp_path, "owner/m-GGUF", name, gguf({**LLAMA, "general.name": name}))
    models = look(tmp_path, "hub").models
    assert set(models) == {
        f"owner/m-GGUF:{quantization}" for quantization in ("Q8_0", "Q4_K_M", "UD-Q4_K_XL")
    }
    assert "owner/m-GGUF" in models["owner/m-GGUF:Q4_K_M"].names


def test_the_header_tells_a_quantization_that_the_name_does_not(tmp_path: Path) -> None:
    hub_file(tmp_path, "owner/repo", "model.gguf", gguf())
    assert list(look(tmp_path, "hub").models) == ["owner/repo:Q4_K_M"]


def test_parts_are_one_model(tmp_path: Path) -> None:
    paths = write_parts(tmp_path, "big-Q4_0", 3)
    (model,) = look(tmp_path).models.values()
    assert (model.id, model.path, model.files) == ("big-Q4_0", str(paths[0]), tuple(map(str, paths)))
    assert model.size_bytes == sum(path.stat().st_size for path in paths)


def test_a_missing_part_is_named(tmp_path: Path) -> None:
    write_parts(tmp_path, "big", 3)[1].unlink()
    found = look(tmp_path)
    assert not found.models
    assert why(found) == {"big-00001-of-00003.gguf": "Part 2 of 3 is missing: go on with the download."}


def test_a_projector_goes_to_every_quantization_the_best_precision_first(tmp_path: Path) -> None:
    repo = tmp_path / "owner" / "vl"
    for name in ("vl-Q4_0.gguf", "vl-Q8_0.gguf"):
        write_gguf(repo / name)
    for name in ("mmproj-F32.gguf", "mmproj-F16.gguf", "mmproj-BF16.gguf"):
        write_gguf(repo / "mmproj" / name, PROJECTOR)
    found = look(tmp_path)
    assert [Path(model.projector).name for model in found.models.values()] == ["mmproj-F16.gguf"] * 2
    model = found.models["owner/vl:Q4_0"]
    assert model.files == (model.path, model.projector)
    assert model.size_bytes == sum(Path(file).stat().st_size for file in model.files)
    assert not found.rejected


def test_purposes(tmp_path: Path) -> None:
    write_gguf(tmp_path / "embed.gguf", llama__pooling_type=3)
    write_gguf(tmp_path / "rerank.gguf", llama__pooling_type=4)
    write_gguf(tmp_path / "bert.gguf", {"general.architecture": "bert"})
    write_gguf(tmp_path / "chat.gguf", llama__pooling_type=0)
    models = look(tmp_path).models
    assert {name: (model.purpose, model.pooling) for name, model in models.items()} == {
        "embed": ("embedding", 3),
        "rerank": ("rerank", 4),
        "bert": ("embedding", 1),
        "chat": ("chat", 0),
    }


def test_what_is_no_model_is_told_apart(tmp_path: Path) -> None:
    write_gguf(tmp_path / "lora.gguf", general__type="adapter")
    write_gguf(tmp_path / "imatrix.gguf", {"general.type": "imatrix"})
    write_gguf(tmp_path / "vocab.gguf", LLAMA, ())
    write_gguf(tmp_path / "picture.gguf", {"general.architecture": "flux"})
    write_gguf(tmp_path / "mmproj.gguf", PROJECTOR)
    write_gguf(tmp_path / "nameless.gguf", {})
    (tmp_path / "short.gguf").write_bytes(gguf(LLAMA, BIG)[:50_000])
    (tmp_path / "page.gguf").write_text("<!DOCTYPE html>")
    (tmp_path / "half.gguf.part").touch()
    (tmp_path / "big.gguf").write_bytes(gguf(order=">"))
    found = look(tmp_path)
    assert not found.models
    words = {
        "lora.gguf": "adapter",
        "imatrix.gguf": "importance matrix",
        "vocab.gguf": "vocabulary",
        "picture.gguf": "Not a language model (flux)",
        "mmproj.gguf": "that model is not here",
        "nameless.gguf": "no architecture",
        "short.gguf": "Incomplete: 50.0 kB of 131.",
        "page.gguf": "web page",
        "half.gguf.part": "Half downloaded",
        "big.gguf": "order of bytes",
    }
    assert found.rejected
    for name, reason in why(found).items():
        assert words.pop(name) in reason
    assert not words


def test_a_draft_beside_its_model_is_not_listed_but_alone_it_is(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a" / "Big.gguf", LLAMA, BIG)
    write_gguf(tmp_path / "a" / "Big-draft.gguf")
    write_gguf(tmp_path / "b" / "Other-MTP-Q4_0.gguf")
    found = look(tmp_path)
    assert set(found.models) == {"Big", "Other-MTP-Q4_0"}
    assert "A draft" in why(found)["Big-draft.gguf"]


def test_the_same_file_under_two_names_is_one_model(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a" / "first.gguf")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "linked.gguf").symlink_to(path)
    (tmp_path / "b" / "second.gguf").hardlink_to(path)
    found = look(tmp_path)
    assert list(found.models) == ["first"]
    assert not found.rejected


def test_an_old_revision_is_left_out_where_there_is_a_new_one(tmp_path: Path) -> None:
    old = hub_file(tmp_path, "o/r", "r-Q4_0.gguf", gguf({**LLAMA, "general.name": "old"}), "a" * 40)
    hub_file(tmp_path, "o/r", "r-Q8_0.gguf", gguf({**LLAMA, "general.name": "other"}), "a" * 40)
    new = hub_file(tmp_path, "o/r", "r-Q4_0.gguf", gguf({**LLAMA, "general.name": "new"}), "b" * 40)
    models = look(tmp_path, "hub").models
    assert old.name == new.name
    assert {model_id: Path(model.path).parent.name[0] for model_id, model in models.items()} == {
        "o/r:Q4_0": "b",
        "o/r:Q8_0": "a",
    }


def test_folders_of_safetensors(tmp_path: Path) -> None:
    write_safetensors(
        tmp_path / "own" / "mlx-community" / "Qwen3-4bit", made_for="mlx", quantization={"bits": 4}
    )
    write_safetensors(tmp_path / "own" / "plain")
    adapter = write_safetensors(tmp_path / "own" / "adapter")
    (adapter / "config.json").rename(adapter / "adapter_config.json")
    write_safetensors(tmp_path / "own" / "vit", architectures=["ViTModel"], image_size=224)
    found = look(tmp_path / "own")
    assert {name: (model.format, model.purpose) for name, model in found.models.items()} == {
        "mlx-community/Qwen3-4bit": ("mlx", "chat"),
        "plain": ("safetensors", "chat"),
    }
    assert found.models["plain"].path == str(tmp_path / "own" / "plain")
    assert set(why(found)) == {"adapter", "vit"}


def test_rejected_names_are_safe_to_show(tmp_path: Path) -> None:
    (tmp_path / "\x1b[31mred\u202e.gguf").write_text("x")
    assert list(why(look(tmp_path))) == ["red.gguf"]


def test_more_than_500_rejected_files_are_not_told(tmp_path: Path) -> None:
    for number in range(510):
        (tmp_path / f"{number}.gguf").touch()
    assert len(look(tmp_path).rejected) == 500


def test_two_stores_with_the_same_model(tmp_path: Path) -> None:
    for number, store in enumerate(("own", "lm")):
        metadata: dict[str, Any] = {**LLAMA, "general.name": f"copy {number}"}
        write_gguf(tmp_path / store / "owner" / "repo" / "r-Q4_0.gguf", metadata, ONE)
    found = look(tmp_path / "own", "own", ("lmstudio", tmp_path / "lm"))
    assert {name: model.store for name, model in found.models.items()} == {
        "owner/repo:Q4_0": "own",
        "owner/repo:Q4_0@lmstudio": "lmstudio",
    }
