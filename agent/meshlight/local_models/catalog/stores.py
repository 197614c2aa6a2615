"""Where models lie on this machine: our own folder, the user's, and those of other programs, on each system.

Other programs' folders are only read. Ollama's is none of them: its files are for Ollama alone, and it runs them.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from meshlight.domain.config import LocalSettings
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.local_models import StoreName
from meshlight.domain.text import sanitize

LABELS: dict[StoreName, str] = {
    "own": "Meshlight",
    "folder": "Folder",
    "hub": "Hugging Face",
    "lmstudio": "LM Studio",
    "llamacpp": "llama.cpp",
    "jan": "Jan",
    "gpt4all": "GPT4All",
}
LABEL_MAX = 60
_POINTER_MAX = 4_096
_SETTINGS_MAX = 1 << 20


class Place(Struct, frozen=True, kw_only=True):
    """A store, with all folders in which it may lie."""

    store: StoreName
    label: str
    folders: tuple[str, ...]
    is_named: bool = False
    """Whether the user has named it: then it is told if it is not there."""


def places(
    settings: LocalSettings, *, own: Path, environ: Mapping[str, str], home: Path, platform: str
) -> tuple[Place, ...]:
    """Return where to look, the most trusted first; `own` is our folder where the settings name none.

    `platform` is as `sys.platform`. Reads LM Studio's settings for its folder; never raises.
    """
    found = [Place(store="own", label=LABELS["own"], folders=(str(own_folder(settings, own, home)),))]
    for name in dict.fromkeys(settings.folders):
        folder = _expand(name, home)
        label = sanitize(folder.name, LABEL_MAX) or LABELS["folder"]
        found.append(Place(store="folder", label=label, folders=(str(folder),), is_named=True))
    known = _Known(environ, home, platform)
    for store in dict.fromkeys(settings.look_in):
        folders = tuple(dict.fromkeys(map(str, known.folders(store))))
        if folders:
            found.append(Place(store=store, label=LABELS[store], folders=folders))
    return tuple(found)


def own_folder(settings: LocalSettings, own: Path, home: Path) -> Path:
    """Return the folder of our own: the one in the settings, else `own`."""
    return _expand(settings.folder, home) if settings.folder.strip() else own


def named_folders(settings: LocalSettings, own: Path, home: Path) -> list[Path]:
    """Return our own folder, and those of the user; not those of other programs."""
    return [
        own_folder(settings, own, home),
        *(_expand(name, home) for name in dict.fromkeys(settings.folders)),
    ]


class _Known:
    """The folders of other programs, on one system."""

    def __init__(self, environ: Mapping[str, str], home: Path, platform: str) -> None:
        self._environ = environ
        self._home = home
        self._platform = platform

    def folders(self, store: StoreName) -> Iterator[Path]:
        """Return where a store may lie."""
        match store:
            case "hub":
                yield self._hub()
            case "lmstudio":
                yield from self._lm_studio()
            case "llamacpp":
                yield self._set("LLAMA_CACHE") or self._cache() / "llama.cpp"
            case "jan":
                data = self._data("APPDATA") / "Jan" / "data"
                yield data / "llamacpp" / "models"
                yield data / "models"
            case "gpt4all":
                yield self._data("LOCALAPPDATA") / "nomic.ai" / "GPT4All"
            case _:
                return

    def _hub(self) -> Path:
        if cache := self._set("HF_HUB_CACHE") or self._set("HUGGINGFACE_HUB_CACHE"):
            return cache
        if hugging_face := self._set("HF_HOME"):
            return hugging_face / "hub"
        return (self._set("XDG_CACHE_HOME") or self._home / ".cache") / "huggingface" / "hub"

    def _lm_studio(self) -> Iterator[Path]:
        """LM Studio's home may be moved (a pointer in a file), and its models again (its settings)."""
        homes = [self._home / ".lmstudio", self._home / ".cache" / "lm-studio"]
        pointer = _read(self._home / ".lmstudio-home-pointer", _POINTER_MAX)
        if lines := pointer.decode("utf-8", "replace").replace("\0", "").split("\n")[0].strip():
            homes.insert(0, _expand(lines, self._home))
        for home in dict.fromkeys(homes):
            settings = decode_or_none(_read(home / "settings.json", _SETTINGS_MAX))
            moved = settings.get("downloadsFolder") if isinstance(settings, dict) else None
            if isinstance(moved, str) and moved.strip() and "\0" not in moved:
                yield _expand(moved, self._home)
            yield home / "models"

    def _data(self, windows: str) -> Path:
        if self._platform == "win32":
            local = "Local" if windows == "LOCALAPPDATA" else "Roaming"
            return self._set(windows) or self._home / "AppData" / local
        if self._platform == "darwin":
            return self._home / "Library" / "Application Support"
        return self._set("XDG_DATA_HOME") or self._home / ".local" / "share"

    def _cache(self) -> Path:
        if self._platform == "win32":
            return self._set("LOCALAPPDATA") or self._home / "AppData" / "Local"
        if self._platform == "darwin":
            return self._home / "Library" / "Caches"
        return self._set("XDG_CACHE_HOME") or self._home / ".cache"

    def _set(self, variable: str) -> Path | None:
        value = self._environ.get(variable, "").strip()
        return _expand(value, self._home) if value else None


def _expand(name: str, home: Path) -> Path:
    """Return a folder that may begin with `~`, or be meant from the home folder."""
    name = name.strip().replace("\0", "")
    if name == "~" or name.startswith(("~/", "~\\")):
        name = name[2:]
    return Path(os.path.normpath(home / name))


def _read(file: Path, most: int) -> bytes:
    """Return the first bytes of a small file; nothing if there is none."""
    try:
        if not file.is_file():
            return b""
        with file.open("rb") as opened:
            return opened.read(most)
    except OSError:
        return b""
