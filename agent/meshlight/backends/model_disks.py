"""Where engines of this machine, and Meshlight itself, store their models, and how much room is left there."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from meshlight.domain.backend import Backend, Kind
from meshlight.domain.findings import Disk

_FOLDERS: Mapping[Kind, tuple[str, ...]] = {
    "ollama": ("~/.ollama/models", "/usr/share/ollama/.ollama/models"),
    "lmstudio": ("~/.lmstudio/models", "~/.cache/lm-studio/models"),
}
"""The usual folders of each kind: of the user's own engine, then of one that the system runs."""
OWN_LEAST = 4_000_000_000
"""With fewer bytes free, hardly any model can be downloaded: 2 GB are left for everything else."""
_OWN_LIST = ("meshlight", "models")
_LISTS: Mapping[Kind, tuple[str, ...]] = {"ollama": ("ollama list",), "lmstudio": ("lms ls",)}


class ModelDisks:
    """Looks at the folders of models. Call it in a thread: a folder may be on a disk that sleeps, or on a network."""

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        usage: Callable[[Path], tuple[int, int, int]] = shutil.disk_usage,
        own_folders: Callable[[], Sequence[Path]] = tuple,
    ) -> None:
        """`own_folders` returns the folders of this machine's own models, that of downloads first."""
        self._environ = environ
        self._usage = usage
        self._own_folders = own_folders

    def look(self, backends: list[Backend]) -> list[Disk]:
        """Return the disks of those of these backends whose folder is found, each disk's size in bytes."""
        found: list[Disk] = []
        for backend in backends:
            if backend.kind == "local":
                found += self._own(backend)
                continue
            for folder in self._folders(backend.kind):
                try:
                    if folder.is_dir():
                        total, _, free = self._usage(folder)
                        command = _LISTS[backend.kind]
                        found.append(
                            Disk(
                                backend=backend.id, path=str(folder), free=free, total=total, command=command
                            )
                        )
                        break
                except OSError:
                    continue
        return found

    def _own(self, backend: Backend) -> Iterator[Disk]:
        """Yield the disks of our own folders, each once; the folder of downloads is made by the first of them."""
        seen = set()
        for folder in self._own_folders():
            place = folder.absolute()
            try:
                while not place.exists() and place != place.parent:
                    place = place.parent
                device = place.stat().st_dev
                if device in seen:
                    continue
                seen.add(device)
                total, _, free = self._usage(place)
            except OSError:
                continue
            yield Disk(
                backend=backend.id,
                path=str(folder),
                free=free,
                total=total,
                command=_OWN_LIST,
                least=OWN_LEAST,
            )

    def _folders(self, kind: Kind) -> Iterator[Path]:
        if kind == "ollama" and (given := self._environ.get("OLLAMA_MODELS")):
            yield Path(given)
        home = self._environ.get("HOME") or self._environ.get("USERPROFILE") or "~"
        for folder in _FOLDERS.get(kind, ()):
            if not folder.startswith("~"):
                yield Path(folder)
            elif home != "~":
                yield Path(home + folder[1:])
