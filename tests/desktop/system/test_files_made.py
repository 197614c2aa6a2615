from pathlib import Path

from meshlight.desktop.system.files_made import remove, remove_empty


def test_folders_that_get_empty_go_too_and_others_stay(tmp_path: Path) -> None:
    ours = tmp_path / "home/.local/share/icons/ours.png"
    theirs = tmp_path / "home/.local/bin/theirs"
    for file in (ours, theirs):
        file.parent.mkdir(parents=True)
        file.touch()
    assert remove([ours, ours.with_name("never-made")], tmp_path / "home") == [ours]
    assert sorted(path.name for path in (tmp_path / "home").rglob("*")) == [".local", "bin", "theirs"]


def test_a_link_is_removed_and_not_what_it_leads_to(tmp_path: Path) -> None:
    target = tmp_path / "unit"
    target.touch()
    link = tmp_path / "wants/unit"
    link.parent.mkdir()
    link.symlink_to(target)
    assert remove([link], tmp_path) == [link]
    assert list(tmp_path.iterdir()) == [target]


def test_nothing_outside_of_the_stop_is_removed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere/empty"
    elsewhere.mkdir(parents=True)
    remove_empty(elsewhere, tmp_path / "home")
    assert elsewhere.is_dir()
