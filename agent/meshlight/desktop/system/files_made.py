"""Removes files that Meshlight has made, with the folders that were made for them."""

from collections.abc import Iterable
from pathlib import Path


def remove(files: Iterable[Path], stop: Path) -> list[Path]:
    """Remove the files that exist, and return them; folders that are empty then go too, up to `stop`.

    A folder outside of `stop` stays, empty or not. Raises OSError.
    """
    removed = []
    for file in files:
        if not (file.is_file() or file.is_symlink()):
            continue
        file.unlink()
        removed.append(file)
        remove_empty(file.parent, stop)
    return removed


def remove_empty(folder: Path, stop: Path) -> None:
    """Remove a folder and those above it that are empty, up to `stop`, which stays."""
    for one in (folder, *folder.parents):
        if stop not in one.parents or not one.is_dir() or any(one.iterdir()):
            return
        one.rmdir()
