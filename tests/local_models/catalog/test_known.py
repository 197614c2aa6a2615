"""What is known after a look, and after the next one."""

import shutil
from pathlib import Path

from local_models.catalog.model_files import LLAMA, hub_file, write_gguf
from local_models.catalog.test_header_cache import Memory
from meshlight.domain.local_views import StoreView
from meshlight.local_models.catalog.header_cache import HeaderCache
from meshlight.local_models.catalog.known import Known, look
from meshlight.local_models.catalog.stores import Place


def own(folder: Path) -> Place:
    return Place(store="own", label="Meshlight", folders=(str(folder),))


def usb(folder: Path) -> Place:
    return Place(store="folder", label="usb", folders=(str(folder),), is_named=True)


def again(places: list[Place], before: Known | None = None) -> Known:
    return look(places, HeaderCache(Memory()), before or Known())


def test_without_a_change_it_is_the_same_object(tmp_path: Path) -> None:
    write_gguf(tmp_path / "a.gguf")
    first = again([own(tmp_path)])
    assert again([own(tmp_path)], first) is first
    write_gguf(tmp_path / "b.gguf")
    assert set(again([own(tmp_path)], first).models) == {"a", "b"}


def test_a_drive_that_goes_and_comes_back(tmp_path: Path) -> None:
    places = [own(tmp_path / "own"), usb(tmp_path / "usb")]
    write_gguf(tmp_path / "own" / "a.gguf")
    write_gguf(tmp_path / "usb" / "b.gguf")
    first = again(places)
    assert [store.models for store in first.stores] == [1, 1]
    (tmp_path / "usb").rename(tmp_path / "away")
    gone = again(places, first)
    assert {name: model.is_missing for name, model in gone.models.items()} == {"a": False, "b": True}
    assert gone.stores[1] == StoreView(store="folder", label="usb", note="Not there: is its drive connected?")
    (tmp_path / "away").rename(tmp_path / "usb")
    back = again(places, gone)
    assert back.models == first.models
    assert back.stores == first.stores


def test_a_file_that_goes_is_missing_for_the_session(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_gguf(tmp_path / f"{name}.gguf")
    first = again([own(tmp_path)])
    (tmp_path / "b.gguf").unlink()
    gone = again([own(tmp_path)], first)
    assert gone.models["b"].is_missing
    assert gone.stores[0].note == "1 model is not there any more."
    write_gguf(tmp_path / "c.gguf")
    assert again([own(tmp_path)], gone).models["b"].is_missing


def test_a_file_that_breaks_is_not_missing(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "a.gguf")
    first = again([own(tmp_path)])
    path.write_text("broken")
    assert not again([own(tmp_path)], first).models


def test_a_store_that_is_no_longer_looked_at_is_forgotten(tmp_path: Path) -> None:
    write_gguf(tmp_path / "usb" / "b.gguf")
    first = again([own(tmp_path / "own"), usb(tmp_path / "usb")])
    assert not again([own(tmp_path / "own")], first).models


def test_a_missing_model_leaves_its_names_to_others(tmp_path: Path) -> None:
    hub = Place(store="hub", label="Hugging Face", folders=(str(tmp_path / "hub"),))
    hub_file(tmp_path / "hub", "o/r", "r-Q4_K_M.gguf", b"")
    path = write_gguf(tmp_path / "own" / "o" / "r" / "r-Q4_K_M.gguf")
    first = again([own(tmp_path / "own"), hub])
    path.unlink()
    write_gguf(tmp_path / "own" / "o" / "r" / "r-Q8_0.gguf", LLAMA)
    models = again([own(tmp_path / "own"), hub], first).models
    assert models["o/r:Q4_K_M"].is_missing
    names = [name for model in models.values() for name in (model.id, *model.names)]
    assert len(names) == len(set(names))
    assert "o/r" in models["o/r:Q8_0"].names


def test_stores_of_other_programs_are_listed_where_they_are(tmp_path: Path) -> None:
    jan = Place(store="jan", label="Jan", folders=(str(tmp_path / "jan1"), str(tmp_path / "jan2")))
    assert [store.store for store in again([own(tmp_path / "own"), jan]).stores] == ["own"]
    write_gguf(tmp_path / "jan2" / "Jan-v1" / "model.gguf")
    with_jan = again([own(tmp_path / "own"), jan])
    assert [(store.store, store.models) for store in with_jan.stores] == [("own", 0), ("jan", 1)]
    shutil.rmtree(tmp_path / "jan2")
    assert again([own(tmp_path / "own"), jan], with_jan).stores[1].note.startswith("Not there")


def test_a_named_folder_that_is_not_there_is_told_from_the_start(tmp_path: Path) -> None:
    (store,) = again([usb(tmp_path / "usb")]).stores
    assert store.note == "Not there: is its drive connected?"
