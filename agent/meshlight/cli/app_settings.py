"""Writes Meshlight into the settings file of a client app, and takes it out again, byte for byte.

What a file was like before is kept in the state folder, with a hash of what was written: a file that was changed
since is not touched.
"""

import hashlib
import json
import os
import re
import shutil
import stat
import sys
from collections.abc import Mapping
from contextlib import suppress
from difflib import unified_diff
from pathlib import Path
from typing import Any, Final

import msgspec
import tomlkit
from msgspec import Struct
from tomlkit.exceptions import TOMLKitError

from meshlight.desktop.system.files_made import remove_empty
from meshlight.domain.app_recipes import Settings
from meshlight.domain.client_apps import ClientApp, FileForm
from meshlight.domain.errors import Conflict, MeshlightError, NotFound
from meshlight.storage.files import DEFAULT_LIMIT, make_folder, read_with_stat, write_atomic

HIDDEN: Final = "•" * 8
"""Stands for the key in what is shown."""
_OWN_MODE: Final = 0o600
_PLAIN_YAML_KEY: Final = re.compile(r"([A-Za-z0-9_-]+)\s*:")
_ENV_KEY: Final = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=")


class _Record(Struct, frozen=True, kw_only=True):
    """What was done to one file; beside it lies the file's content from before, if there was one."""

    file: str
    existed: bool
    mode: int
    written: str
    """The hash of what was written."""
    first_folder: str
    """The folder above those that were made for the file, or its own."""


class Change(Struct, frozen=True, kw_only=True):
    """What `--config` would do to a file."""

    file: Path
    before: bytes | None
    """None where there is no file."""
    after: bytes
    mode: int

    def diff(self, key: str) -> list[str]:
        """Return the lines of a unified diff, without the key."""
        old = (self.before or b"").decode("utf-8", "replace").splitlines()
        new = self.after.decode().splitlines()
        return [
            line.replace(key, HIDDEN)
            for line in unified_diff(old, new, str(self.file), str(self.file), lineterm="")
        ]


class AppSettings:
    """The settings files of client apps; `folder` holds the backups."""

    def __init__(self, folder: Path, environ: Mapping[str, str] = os.environ) -> None:
        self._folder = folder
        self._environ = environ

    def plan(self, app: ClientApp, settings: Settings) -> Change:
        """Return what would be written; raises MeshlightError for a file that can't be read or has another form."""
        file = self.file_of(app)
        form = app.file.form if app.file is not None else "json"
        before, mode = _read(file)
        if file.is_symlink():
            # What is written and undone is the file itself, wherever the link points then.
            file = file.resolve()
        try:
            text = _merged("" if before is None else before.decode("utf-8"), settings, form)
        except (ValueError, TOMLKitError, RecursionError) as error:
            raise Conflict(
                f"{file} can't be changed: {error}.",
                f"Add the lines by hand: meshlight launch {app.id} --show",
            ) from error
        return Change(file=file, before=before, after=text.encode(), mode=mode & 0o700 or _OWN_MODE)

    def write(self, app: ClientApp, change: Change) -> None:
        """Write a planned change, after what was there is kept; raises Conflict if the file has changed meanwhile."""
        if _read(change.file)[0] != change.before:
            raise Conflict(f"{change.file} was changed in this moment.", "Try again.")
        record = self._record(app)
        if (
            record is not None
            and record.file != str(change.file)
            and _hash(_read(Path(record.file))[0]) == record.written
        ):
            raise Conflict(
                f"Meshlight's settings of {app.name} are in {record.file} already, with what to undo there.",
                f"Take them out first: meshlight launch {app.id} --restore",
            )
        is_ours = record is not None and _hash(change.before) == record.written
        if not (is_ours and record is not None and record.file == str(change.file)):
            if record is not None:
                with suppress(OSError):  # what was there before the first change is still worth having
                    self._backup(app).replace(self._backup(app).with_suffix(".backup.old"))
            record = _Record(
                file=str(change.file),
                existed=change.before is not None,
                mode=_read(change.file)[1],
                written="",
                first_folder=str(_first_folder(change.file)),
            )
            make_folder(self._folder)
            if change.before is not None:
                write_atomic(self._backup(app), change.before)
        written = msgspec.structs.replace(record, written=_hash(change.after))
        write_atomic(self._record_file(app), msgspec.json.encode(written))
        write_atomic(change.file, change.after, change.mode)

    def restore(self, app: ClientApp) -> Path:
        """Undo what `write` did, and return the file.

        Raises NotFound if nothing was written, Conflict if the file was changed since.
        """
        record = self._record(app)
        if record is None:
            raise NotFound(f"Meshlight has written no settings of {app.name}.", "")
        file = Path(record.file)
        now, _ = _read(file)
        backup = self._backup(app)
        before = _read(backup)[0] if record.existed else None
        if record.existed and before is None:
            raise Conflict(
                f"{backup} is gone, which held what {file} was before, so it stays as it is.",
                "Take Meshlight's lines out by hand.",
            )
        if _hash(now) != record.written:
            was = (
                f"What it was before is in {backup}." if record.existed else "Before, there was no such file."
            )
            raise Conflict(
                f"{file} was changed since Meshlight wrote it, so it stays as it is.",
                f"{was} Take Meshlight's lines out by hand, or write them anew: "
                f"meshlight launch {app.id} --config",
            )
        try:
            if before is not None:
                write_atomic(file, before, record.mode)
            else:
                file.unlink()
                remove_empty(file.parent, Path(record.first_folder))
        except OSError as error:
            raise MeshlightError(
                f"{file} can't be restored: {error.strerror}.", "Make its folder writable for you."
            ) from error
        for kept in (self._record_file(app), backup):
            kept.unlink(missing_ok=True)
        with suppress(OSError):
            self._folder.rmdir()
        return file

    def is_written(self, app: ClientApp) -> bool:
        """Whether there is something to restore."""
        return self._record(app) is not None

    def file_of(self, app: ClientApp) -> Path:
        """Return the settings file of an app; raises NotFound for an app without one, or that is not here."""
        if app.file is None:
            raise NotFound(
                f"{app.name} has no settings file that Meshlight can write.",
                f"Set it up by hand: meshlight launch {app.id} --show",
            )
        if not app.file.path:
            return _beside_package(app, self._environ)
        if app.file.folder_variable and (folder := self._environ.get(app.file.folder_variable)):
            return Path(folder).expanduser() / Path(app.file.path).name
        if sys.platform == "win32" and app.file.windows:
            return Path(self._environ.get("APPDATA", Path.home() / "AppData/Roaming")) / app.file.windows
        return Path.home() / app.file.path

    def _record(self, app: ClientApp) -> _Record | None:
        try:
            return msgspec.json.decode(self._record_file(app).read_bytes(), type=_Record)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise Conflict(f"{self._record_file(app)} can't be read: {error}.", "Remove it.") from error

    def _record_file(self, app: ClientApp) -> Path:
        return self._folder / f"{app.id}.json"

    def _backup(self, app: ClientApp) -> Path:
        return self._folder / f"{app.id}.backup"


def _beside_package(app: ClientApp, environ: Mapping[str, str]) -> Path:
    """Return Open WebUI's `.env`: two folders above its package."""
    program = shutil.which(app.program, path=environ.get("PATH"))
    if program is not None:
        prefix = Path(program).resolve().parents[1]
        for package in (
            *prefix.glob("lib/python3*/site-packages/open_webui"),
            *prefix.glob("Lib/site-packages/open_webui"),
        ):
            return package.parent.parent / ".env"
    raise NotFound(f"{app.name} was not found on PATH.", f"Install it: {app.install}")


def _read(file: Path) -> tuple[bytes | None, int]:
    try:
        data, found = read_with_stat(file, DEFAULT_LIMIT)
    except FileNotFoundError:
        return None, _OWN_MODE
    except OSError as error:
        raise MeshlightError(
            f"{file} can't be read: {error.strerror}.", "Make it readable for you."
        ) from error
    return data, stat.S_IMODE(found.st_mode)


def _hash(data: bytes | None) -> str:
    return "" if data is None else hashlib.sha256(data).hexdigest()


def _first_folder(file: Path) -> Path:
    """Return the nearest folder above a file that exists."""
    return next(folder for folder in file.parents if folder.is_dir())


def _merged(text: str, settings: Settings, form: FileForm) -> str:
    match form:
        case "json":
            return _merged_json(text, settings)
        case "toml":
            document = tomlkit.parse(text)
            _merge(document, settings)
            return tomlkit.dumps(document)
        case "yaml":
            return _merged_lines(
                text, {n: f"{n}: {_quoted(v)}" for n, v in settings.items()}, _PLAIN_YAML_KEY
            )
        case "env":
            return _merged_lines(text, {n: f"{n}={_quoted(v)}" for n, v in settings.items()}, _ENV_KEY)


def _merged_json(text: str, settings: Settings) -> str:
    document = json.loads(text, object_pairs_hook=_once) if text.strip() else {}
    if not isinstance(document, dict):
        raise ValueError("it holds no object")  # noqa: TRY004 - shown as a fault of the file
    _merge(document, settings)
    indent = re.search(r"^([ \t]+)\S", text, re.MULTILINE)
    end = "\n" if not text or text.endswith("\n") else ""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, indent=indent[1] if indent else 2) + end


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return an object of JSON; raises ValueError where a name is there twice, of which one would be lost."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name is in it twice")
    return found


def _merge(table: Any, settings: Mapping[str, Any]) -> None:
    """Merge values into a table, with its order and the rest as they are."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            if not isinstance(table.get(name), Mapping):
                table[name] = {}
            _merge(table[name], value)
        else:
            table[name] = value


def _merged_lines(text: str, lines: Mapping[str, str], key: re.Pattern[str]) -> str:
    """Replace the lines of these names, where they stand at the left edge, and append the others."""
    left = dict(lines)
    out = []
    # Not `splitlines`: that knows more ends of a line than YAML and dotenv do.
    for line in text.removesuffix("\n").split("\n") if text else ():
        found = key.match(line)
        is_ours = found is not None and found[1] in left
        out.append(left.pop(found[1]) + line[len(line.rstrip("\r")) :] if found and is_ours else line)
    end = "\r" if "\r\n" in text else ""
    if out and end and not out[-1].endswith(end):
        out[-1] += end
    return "\n".join((*out, *(line + end for line in left.values()))) + "\n"


def _quoted(value: object) -> str:
    """Return a text in quotes that YAML and dotenv read alike; raises ValueError for one that dotenv would change."""
    text = str(value)
    if "$" in text or "\\" in text:
        raise ValueError(f"{text!r} has a character that it would change")
    return json.dumps(text, ensure_ascii=False)
