"""Walks through the stores and notes what may be part of a model: names, sizes and times, nothing of the content.

Bounded: depth, entries, no folder twice (links may lead in circles). Everything that is met is hostile: a name may be
any bytes, a link may lead anywhere, a file may be a pipe.
"""

import os
import re
import stat
from collections import deque
from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.structs import replace

from meshlight.domain.text import count
from meshlight.local_models.catalog.file_names import is_partial
from meshlight.local_models.catalog.safetensors import FILES
from meshlight.local_models.catalog.stores import Place

DEPTH_MAX = 6
ENTRIES_MAX = 5_000
"""Folders, and files that may be part of a model, in one store."""
NAMES_MAX = 50_000
"""All names in one store, those that are passed over included."""
_WEIGHTS = (".gguf", ".safetensors")
_HUB_REPO = "models--"
_HUB_OTHERS = ("datasets--", "spaces--")
_IS_REPO = re.compile(r"(?:^|[-_.])(?:gguf|mlx|\dbit)(?:$|[-_.])", re.IGNORECASE)
"""Folders of the user may be of any kind: only with such a name is the second level taken for a repository."""
_REVISION_MAX = 100
_OLLAMA = "sha256-"
"""Begins the names of Ollama's own files."""

_HALF = "Half downloaded: go on with the download, or delete it."

Identity = tuple[int, int]
"""Device and inode."""


class FoundFile(Struct, frozen=True):
    """A file that may be part of a model; links are followed."""

    path: str
    name: str
    size: int
    mtime_ns: int
    identity: Identity


class FoundFolder(Struct, frozen=True, kw_only=True):
    """One folder with such files."""

    path: str
    root: str
    """The folder of its repository (and revision): the files below belong together. Itself where there is none."""
    repo: str = ""
    """`owner/repo`, where the layout tells."""
    rank: int = 0
    """0 for the current revision of a repository, higher for older ones."""
    files: tuple[FoundFile, ...] = ()
    odd: tuple[tuple[str, str], ...] = ()
    """Names of what can't be a model, and why."""


class Survey(Struct, frozen=True, kw_only=True):
    """What one store holds."""

    place: Place
    is_there: bool
    folders: tuple[FoundFolder, ...] = ()
    note: str = ""


class Stopped(Exception):
    """The walk was told to stop."""


class _Step(Struct, frozen=True, kw_only=True):
    """A folder to be looked into."""

    path: str
    depth: int
    root: str = ""
    repo: str = ""
    rank: int = 0
    is_hub: bool = False
    is_blobs: bool = False
    """Whether it holds files by their hashes, of which only those that have not arrived yet are of interest."""


class _TooMany(Exception):
    pass


def survey(places: Iterable[Place], is_stopped: Callable[[], bool] = lambda: False) -> tuple[Survey, ...]:
    """Walk through the stores, one after the other; a folder in two of them counts for the first.

    Raises Stopped, and nothing else.
    """
    visited: set[Identity] = set()
    return tuple(_Walk(place, visited, is_stopped).survey() for place in places)


class _Walk:
    """The walk through one store, broad before deep, so that a limit cuts off what lies deepest."""

    def __init__(self, place: Place, visited: set[Identity], is_stopped: Callable[[], bool]) -> None:
        self._place = place
        self._visited = visited
        self._is_stopped = is_stopped
        self._entries = 0
        self._names = 0
        self._unreadable = 0

    def survey(self) -> Survey:
        folders: list[FoundFolder] = []
        notes: list[str] = []
        is_there = False
        for base in self._place.folders:
            try:
                identity = _identity(os.stat(base))  # noqa: PTH116 - see gguf.py
                is_there = True
                if self._is_new(identity):
                    self._walk(base, folders)
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, ValueError) as error:
                notes.append(f"Can't be read: {reason_of(error)}.")
            except _TooMany:
                notes.append(f"More than {ENTRIES_MAX:,} entries: not all were looked at.")
        if self._unreadable:
            notes.append(f"{count(self._unreadable, 'folder')} in it can't be read.")
        return Survey(
            place=self._place, is_there=is_there, folders=tuple(folders), note=" ".join(dict.fromkeys(notes))
        )

    def _walk(self, base: str, folders: list[FoundFolder]) -> None:
        queue = deque([_Step(path=base, depth=0)])
        while queue:
            if self._is_stopped():
                raise Stopped
            step = queue.popleft()
            try:
                entries = self._list(step.path)
            except OSError as error:
                if step.depth == 0:
                    raise
                self._unreadable += not isinstance(error, FileNotFoundError | NotADirectoryError)
                continue
            if step.is_blobs:
                folder, below = _half_downloaded(step, entries), list[_Step]()
            else:
                folder, below = self._look(step, entries)
            if folder is not None:
                folders.append(folder)
            if self._entries > ENTRIES_MAX or self._names > NAMES_MAX:
                raise _TooMany
            queue.extend(below)

    def _list(self, path: str) -> "list[os.DirEntry[str]]":
        entries = []
        with os.scandir(path) as found:
            for entry in found:
                self._names += 1
                if self._names > NAMES_MAX:
                    break
                entries.append(entry)
        entries.sort(key=_name)
        return entries

    def _look(self, step: _Step, entries: "list[os.DirEntry[str]]") -> tuple[FoundFolder | None, list[_Step]]:
        """Return what a folder holds, and the folders in it; it stops in the middle when there are too many."""
        files: list[FoundFile] = []
        odd: list[tuple[str, str]] = []
        below: list[_Step] = []
        for entry in entries:
            name = entry.name
            may_count = name.lower().endswith(_WEIGHTS) or name in FILES
            if not may_count:
                if is_partial(name):
                    odd.append((name, _HALF))
                if name.startswith(".") or not _is_folder(entry):
                    continue
            self._entries += 1
            if self._entries > ENTRIES_MAX or self._names > NAMES_MAX:
                break
            try:
                status = os.stat(entry.path)  # noqa: PTH116 - see gguf.py; an entry's own has no inode on Windows
            except (OSError, ValueError) as error:
                if may_count:
                    odd.append((name, _why_no_file(error)))
                continue
            if stat.S_ISDIR(status.st_mode):
                if step.depth < DEPTH_MAX and self._is_new(_identity(status)):
                    below.extend(self._steps(step, entry))
            elif may_count:
                why = _why_not(entry, status, is_hub=step.is_hub)
                if why:
                    odd.append((name, why))
                else:
                    files.append(
                        FoundFile(entry.path, name, status.st_size, status.st_mtime_ns, _identity(status))
                    )
        folder = FoundFolder(
            path=step.path,
            root=step.root or step.path,
            repo=step.repo,
            rank=step.rank,
            files=tuple(files),
            odd=tuple(odd),
        )
        return (folder if files or odd else None), below

    def _steps(self, step: _Step, entry: "os.DirEntry[str]") -> list[_Step]:
        """Return how to go on with a folder in a folder: mostly into it, but the hub's have a layout of their own."""
        name, depth = entry.name, step.depth + 1
        if name.startswith(_HUB_OTHERS):
            return []
        if name.startswith(_HUB_REPO):
            return self._hub_steps(entry.path, name.removeprefix(_HUB_REPO).replace("--", "/"), depth)
        if step.repo:
            return [replace(step, path=entry.path, depth=depth)]
        is_repo = self._place.store in {"own", "lmstudio"} or (
            self._place.store == "folder" and bool(_IS_REPO.search(name))
        )
        if depth == 2 and is_repo:
            owner = os.path.basename(step.path)  # noqa: PTH119 - see gguf.py
            return [_Step(path=entry.path, depth=depth, root=entry.path, repo=f"{owner}/{name}")]
        return [_Step(path=entry.path, depth=depth)]

    def _hub_steps(self, path: str, repo: str, depth: int) -> list[_Step]:
        """Return the revisions of a repository in the hub's cache, the current one first.

        The files lie in `blobs` by their hashes; the revisions link there by name (or hold copies, on Windows).
        """
        snapshots = os.path.join(path, "snapshots")  # noqa: PTH118 - see gguf.py
        try:
            revisions = [entry for entry in self._list(snapshots) if _is_folder(entry)]
            if len(revisions) > 1:
                current = _current_revision(path)
                revisions.sort(key=lambda entry: (entry.name != current, -entry.stat().st_mtime_ns))
        except OSError:
            revisions = []
        blobs = os.path.join(path, "blobs")  # noqa: PTH118 - see gguf.py
        return [
            *(
                _Step(path=entry.path, depth=depth + 2, root=entry.path, repo=repo, rank=rank, is_hub=True)
                for rank, entry in enumerate(revisions)
            ),
            _Step(path=blobs, depth=depth + 1, root=blobs, repo=repo, is_blobs=True),
        ]

    def _is_new(self, identity: Identity) -> bool:
        if identity[1] and identity in self._visited:
            return False
        self._visited.add(identity)
        return True


def reason_of(error: Exception) -> str:
    """Return why something can't be read, in plain words, without its path."""
    if isinstance(error, PermissionError):
        return "no permission"
    text = error.strerror if isinstance(error, OSError) else None
    return (text or "unknown reason").lower()


def _name(entry: "os.DirEntry[str]") -> str:
    return entry.name


def _identity(status: os.stat_result) -> Identity:
    return (status.st_dev, status.st_ino)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _half_downloaded(step: _Step, entries: "list[os.DirEntry[str]]") -> FoundFolder | None:
    if not any(entry.name.endswith(".incomplete") for entry in entries):
        return None
    return FoundFolder(path=step.path, root=step.root, repo=step.repo, odd=((step.repo, _HALF),))


def _why_not(entry: "os.DirEntry[str]", status: os.stat_result, *, is_hub: bool) -> str:
    if not stat.S_ISREG(status.st_mode):
        return "No ordinary file."
    if not is_hub and entry.is_symlink():
        try:
            target = os.path.basename(os.readlink(entry.path))  # noqa: PTH115, PTH119 - see gguf.py
        except OSError:
            return ""
        if target.startswith(_OLLAMA):
            return "Ollama's own file, which other engines often can't run: use it through Ollama."
    return ""


def _why_no_file(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "A link to a file that is not there."
    return f"Can't be read: {reason_of(error)}."


def _current_revision(path: str) -> str:
    try:
        with open(os.path.join(path, "refs", "main"), "rb") as file:  # noqa: PTH118, PTH123 - see gguf.py
            return file.read(_REVISION_MAX).decode("ascii", "replace").strip()
    except OSError:
        return ""
