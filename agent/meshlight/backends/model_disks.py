"""Where engines of this machine store their models, and how much room is left there."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from meshlight.domain.backend import Backend, Kind
from meshlight.domain.findings import Disk

_FOLDERS: Mapping[Kind, tuple[str, ...]] = {
    "ollama": ("~/.ollama/models", "/usr/share/ollama/.ollama/models"),
    "lmstudio": ("~/.lmstudio/models", "~/.cache/lm-studio/models"),
}
"""The usual folders of each kind: of the user's own engine, then of one that the system runs."""
_LISTS: Mapping[Kind, tuple[str, ...]] = {"ollama": ("ollama list",), "lmstudio": ("lms ls",)}


class ModelDisks:
    """Looks at the folders of models. Call it in a thread: a folder may be on a disk that sleeps, or on a network."""

    def __init__(
        self,
        environ: Mapping[str, str] = os.environ,
        usage: Callable[[Path], tuple[int, int, int]] = shutil.disk_usage,
    ) -> None:
        self._environ = environ
        self._usage = usage

    def look(self, backends: list[Backend]) -> list[Disk]:
        """Return the disks of those of these backends whose folder is found, each disk's size in bytes."""
        found = []
        for backend in backends:
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

    def _folders(self, kind: Kind) -> Iterator[Path]:
        if kind == "ollama" and (given := self._environ.get("OLLAMA_MODELS")):
            yield Path(given)
        home = self._environ.get("HOME") or self._environ.get("USERPROFILE") or "~"
        for folder in _FOLDERS.get(kind, ()):
            if not folder.startswith("~"):
                yield Path(folder)
            elif home != "~":
                yield Path(home + folder[1:])
