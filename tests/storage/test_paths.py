import os
import stat
from pathlib import Path

import pytest

from meshlight.domain.errors import ServiceError
from meshlight.storage.paths import Paths


def test_meshlight_home_puts_everything_into_one_folder(tmp_path: Path) -> None:
    places = Paths.here({"MESHLIGHT_HOME": str(tmp_path / "mesh")})
    files = [getattr(places, name) for name in Paths.__struct_fields__ if name != "state_dir"]
    assert {file.parent for file in files} == {places.state_dir} == {tmp_path / "mesh"}
    assert len(set(files)) == len(files)


def test_meshlight_home_may_begin_with_a_tilde() -> None:
    assert Paths.here({"MESHLIGHT_HOME": "~/mesh"}).state_dir == Path.home() / "mesh"


def test_a_relative_meshlight_home_is_meant_from_here() -> None:
    assert Paths.here({"MESHLIGHT_HOME": "mesh"}).state_dir == Path.cwd() / "mesh"


@pytest.mark.parametrize("environ", [{}, {"MESHLIGHT_HOME": " "}])
def test_without_it_the_folders_of_the_system_are_used(environ: dict[str, str]) -> None:
    places = Paths.here(environ)
    assert "meshlight" in str(places.config_file).lower()
    assert places.config_file.name == "config.toml"
    assert places.state_dir.is_absolute()


def test_asking_for_the_places_makes_no_folders(tmp_path: Path) -> None:
    Paths.here({"MESHLIGHT_HOME": str(tmp_path / "mesh")})
    assert not (tmp_path / "mesh").exists()


def test_preparing_makes_private_folders_and_sweeps_leftovers(tmp_path: Path) -> None:
    places = Paths.under(
        config_dir=tmp_path / "config", state_dir=tmp_path / "state" / "deep", log_dir=tmp_path / "logs"
    )
    places.prepare()
    leftover = places.state_dir / ".local.key.00.meshlight-tmp"
    leftover.touch()
    os.utime(leftover, (0, 0))
    places.prepare()
    assert not leftover.exists()
    for folder in (tmp_path / "config", tmp_path / "state", places.state_dir, tmp_path / "logs"):
        assert folder.is_dir()
        assert os.name == "nt" or stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_another_configuration_file_leaves_the_state_where_it_is(tmp_path: Path) -> None:
    places = Paths.here({"MESHLIGHT_HOME": str(tmp_path)})
    other = places.with_config_file(Path("mine.toml"))
    assert other.config_file == Path.cwd() / "mine.toml"
    assert other.key_file == places.key_file


@pytest.mark.skipif(os.name == "nt", reason="modes say nothing there")
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702, 0o1777])
def test_a_home_that_others_may_write_is_refused_with_the_mend(tmp_path: Path, mode: int) -> None:
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(mode)
    places = Paths.here({"MESHLIGHT_HOME": str(home)})
    for judge in (places.prepare, places.check):
        with pytest.raises(ServiceError, match=rf"{home} \(mode {mode:04o}\)") as caught:
            judge()
        assert f"chmod go-w '{home}'" in caught.value.hint
    assert list(home.iterdir()) == []
    home.chmod(0o755)
    places.prepare()


@pytest.mark.skipif(os.name == "nt", reason="modes say nothing there")
def test_a_home_in_a_folder_whose_entries_others_may_exchange_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    places = Paths.here({"MESHLIGHT_HOME": str(shared / "mine")})
    with pytest.raises(ServiceError, match=f"{shared} "):
        places.prepare()
    shared.chmod(0o1777)
    places.prepare()


@pytest.mark.skipif(os.name == "nt", reason="modes say nothing there")
@pytest.mark.parametrize("folder", ["config", "state", "log"])
def test_each_of_the_three_folders_is_judged(tmp_path: Path, folder: str) -> None:
    places = Paths.under(
        config_dir=tmp_path / "config", state_dir=tmp_path / "state", log_dir=tmp_path / "log"
    )
    places.prepare()
    (tmp_path / folder).chmod(0o777)
    with pytest.raises(ServiceError, match=f"{tmp_path / folder} "):
        places.prepare()
