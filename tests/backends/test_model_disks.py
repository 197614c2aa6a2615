"""The room that is left where engines store their models."""

from pathlib import Path

from fake_clock import backend
from meshlight.backends.model_disks import OWN_LEAST, ModelDisks
from meshlight.domain.findings import Disk

OLLAMA, STUDIO, OTHER = (
    backend("o", kind="ollama"),
    backend("s", kind="lmstudio"),
    backend("l", kind="llamacpp"),
)


def usage(_: Path) -> tuple[int, int, int]:
    return 100, 93, 7


def test_the_folder_that_was_set_comes_before_the_usual_one(tmp_path: Path) -> None:
    usual, given = tmp_path / ".ollama" / "models", tmp_path / "elsewhere"
    usual.mkdir(parents=True)
    disks = ModelDisks({"HOME": str(tmp_path), "OLLAMA_MODELS": str(given)}, usage)
    assert [disk.path for disk in disks.look([OLLAMA])] == [str(usual)]
    given.mkdir()
    assert disks.look([OLLAMA]) == [
        Disk(backend="o", path=str(given), free=7, total=100, command=("ollama list",))
    ]


def test_an_engine_without_a_known_folder_has_no_disk(tmp_path: Path) -> None:
    (tmp_path / ".lmstudio" / "models").mkdir(parents=True)
    disks = ModelDisks({"HOME": str(tmp_path)}, usage)
    assert [disk.backend for disk in disks.look([STUDIO, OTHER])] == ["s"]


def test_a_disk_that_does_not_answer_is_left_out(tmp_path: Path) -> None:
    def broken(_: Path) -> tuple[int, int, int]:
        raise OSError("gone")

    (tmp_path / ".lmstudio" / "models").mkdir(parents=True)
    assert ModelDisks({"HOME": str(tmp_path)}, broken).look([STUDIO]) == []


def test_our_own_folders_are_measured_where_they_will_be_and_each_disk_once(tmp_path: Path) -> None:
    to_come, further = tmp_path / "not" / "there" / "yet", tmp_path / "further"
    further.mkdir()
    asked: list[Path] = []

    def count(place: Path) -> tuple[int, int, int]:
        asked.append(place)
        return usage(place)

    disks = ModelDisks({}, count, lambda: [to_come, further, Path("/dev")])
    own = backend("this-machine", kind="local")
    found = disks.look([own])
    assert [disk.path for disk in found] == [str(to_come), "/dev"]
    assert asked == [tmp_path, Path("/dev")]
    assert found[0] == Disk(
        backend="this-machine",
        path=str(to_come),
        free=7,
        total=100,
        command=("meshlight", "models"),
        least=OWN_LEAST,
    )
    assert ModelDisks({}, usage).look([own]) == []
