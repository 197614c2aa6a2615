"""The configuration file: read, watched over, and edited without losing a word of the user's.

The configuration file as bytes: what was found, and how to write it back the same way.
"""

import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from meshlight.domain.backend import Backend
from meshlight.domain.config import Config, DiscoverySettings
from meshlight.domain.errors import BadRequest, ConfigError
from meshlight.domain.rules import Routing
from meshlight.storage.config import changes
from meshlight.storage.config.parser import RingFor, read_config
from meshlight.storage.config.toml_editor import set_value
from meshlight.storage.files import read_with_stat, write_atomic

Signature = tuple[int, int, int, int]
"""What tells one state of a file from another: its two times of change in nanoseconds, size, inode."""

_BOM = b"\xef\xbb\xbf"


class ConfigText(Struct, frozen=True):
    """A text with Unix line ends, and the bytes that it was read from."""

    text: str
    data: bytes
    signature: Signature | None
    """None if there was no file."""
    mode: int = 0o600
    bom: bool = False
    crlf: bool = False

    def encode(self, text: str) -> bytes:
        """Return another text in the bytes of this one: same line ends, same mark at the beginning."""
        body = text if text.endswith("\n") else text + "\n"
        if self.crlf:
            body = body.replace("\n", "\r\n")
        return (_BOM if self.bom else b"") + body.encode()


NO_TEXT = ConfigText("", b"", None)
"""What is read where there is no file."""


def read_text(path: Path) -> ConfigText:
    """Read the file; raises OSError, or ConfigError for what is no UTF-8."""
    data, found = read_with_stat(path)
    try:
        text = data.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"line {line}: this is not UTF-8.", f"Save {path} as UTF-8.", line=line) from None
    return ConfigText(
        text=text.replace("\r\n", "\n"),
        data=data,
        signature=signature_of(found),
        mode=stat.S_IMODE(found.st_mode),
        bom=data.startswith(_BOM),
        crlf="\r\n" in text,
    )


def signature_of(found: os.stat_result) -> Signature:
    """Return what changes when the file does: by writing into it, replacing it, or changing who may read it."""
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


_TRIES = 5


class ConfigFile:
    """The TOML file at `path`; a missing one means the defaults.

    Beside it, `config.toml.bak` keeps the last content that was good. Every edit begins by reading the file anew,
    so that what was changed by hand is kept, even if nobody has noticed it yet. Each edit returns the whole new
    configuration. Safe to call from several threads.
    """

    def __init__(self, path: Path, ring_for: RingFor) -> None:
        self.path = path
        self._ring_for = ring_for
        self._lock = threading.RLock()
        self._last_good = Config()
        self._last_page: ConfigText | None = None
        self._seen: Signature | None = None

    @property
    def backup(self) -> Path:
        """Where the last good content is kept."""
        return self.path.with_name(self.path.name + ".bak")

    @property
    def last_good(self) -> Config:
        """What was last read without an error; the defaults before that."""
        return self._last_good

    def load(self, *, must_exist: bool = False) -> Config:
        """Read the file; raises ConfigError with the line that is wrong, and then `last_good` stays.

        `must_exist` is for a file that was there: that it is gone is an error then, and means no defaults.
        """
        with self._lock:
            self._seen = self.signature_now()  # a broken file counts as seen: it is reported once
            page = self._read()
            self._seen = page.signature
            if must_exist and page.signature is None:
                raise ConfigError(
                    f"{self.path} is gone.",
                    "The last good configuration stays in force; put the file back, or start Meshlight anew "
                    "to begin with the defaults.",
                )
            config = self._parse(page)
            self._last_good, self._last_page = config, page
            self._keep(page)
            return config

    def load_or_last_good(self) -> tuple[Config, ConfigError | None]:
        """Read the file, or where it is broken its last good content, with the error that says why."""
        try:
            return self.load(), None
        except ConfigError as error:
            with self._lock, suppress(OSError, ConfigError):
                kept = read_text(self.backup)
                self._last_good, self._last_page = read_config(kept.text, self._ring_for), kept
            return self._last_good, error

    def put_backend(self, backend: Backend) -> Config:
        """Add a backend, or change the one of the same id.

        One that was found becomes the user's own by this. Raises Conflict if another backend has its URL,
        BadRequest if a value can't be, ConfigError if the file is broken at present.
        """
        own = replace(backend, source="config")

        return self._edit(
            lambda text, old: changes.put_backend(text, old, own, self._ring_for),
            lambda old: replace(old, backends=_with(old.backends, own)),
        )

    def remove_backend(self, id_: str) -> Config:
        """Take a backend out; raises NotFound, or ConfigError if the file is broken at present."""
        return self._edit(
            lambda text, old: changes.remove_backend(text, old, id_, self._ring_for),
            lambda old: replace(old, backends=tuple(b for b in old.backends if b.id != id_)),
        )

    def set_routing(self, routing: Routing) -> Config:
        """Change the policy, the aliases and the rules to these."""
        return self._edit(
            lambda text, old: changes.set_routing(text, old.routing, routing),
            lambda old: replace(old, routing=routing),
        )

    def set_discovery(self, discovery: DiscoverySettings) -> Config:
        """Change what is looked for, and what is switched off for good."""
        return self._edit(
            lambda text, old: changes.set_discovery(text, old.discovery, discovery),
            lambda old: replace(old, discovery=discovery),
        )

    def change(self, wanted: Callable[[Config], Config]) -> Config:
        """Change any settings but the backends in one edit, so that either all of them hold or none.

        `wanted` makes the new configuration of what the file says now. Raises BadRequest for a wrong value.
        """

        def rewrite(text: str, old: Config) -> str:
            new = wanted(old)
            text = changes.set_routing(text, old.routing, new.routing)
            text = changes.set_discovery(text, old.discovery, new.discovery)
            text = changes.set_lan(text, old.lan, new.lan)
            text = changes.set_peers(text, old.peers, new.peers)
            for key in ("port", "name", "require_key", "paused", "allowed_hosts", "allowed_origins"):
                value = getattr(new, key)
                plain = list(value) if isinstance(value, tuple) else value
                text = text if getattr(old, key) == value else set_value(text, (key,), plain)
            return text

        return self._edit(rewrite, wanted)

    def set_value(
        self, key: Literal["port", "name", "require_key", "paused"], value: int | str | bool
    ) -> Config:
        """Change one setting that stands at the top of the file; raises BadRequest for a wrong value."""
        return self._edit(
            lambda text, old: text if getattr(old, key) == value else set_value(text, (key,), value),
            lambda old: replace(old, **{key: value}),
        )

    def signature_now(self) -> Signature | None:
        """Return the state of the file on the disk; None if it can't be seen or is not there."""
        try:
            return signature_of(self.path.stat())
        except OSError:
            return None

    @property
    def signature_seen(self) -> Signature | None:
        """The state of the file when it was last read or written here."""
        return self._seen

    def _edit(self, change: Callable[[str, Config], str], wanted: Callable[[Config], Config]) -> Config:
        """Change the text, and write it only if reading it gives what is wanted."""
        with self._lock:
            for _ in range(_TRIES):
                page = self._page_to_edit()
                old = self._parse(page)
                new = wanted(old)
                text = change(page.text, old)
                self._check(text, new)
                if self.signature_now() != page.signature:
                    continue  # somebody saved the file just now: begin again with theirs
                self._keep(page)
                self._last_page, self._seen = page, page.signature
                if text != page.text:
                    self._write(page, text)
                self._last_good = new
                return new
        raise ConfigError(f"{self.path} keeps changing while it is edited.", "Try again in a moment.")

    def _check(self, text: str, wanted: Config) -> None:
        """Refuse an edit whose text would not be read as what was meant."""
        try:
            found = read_config(text, self._ring_for)
        except ConfigError as error:
            problem = error.title.removeprefix(f"line {error.line}: ")
            raise BadRequest(f"The configuration stays as it is: {problem}", error.hint) from None
        if found != wanted:
            raise ConfigError(
                f"This change can't be made in {self.path} as it is laid out.", "Make it by hand, please."
            )

    def _page_to_edit(self) -> ConfigText:
        """Read what is to be edited; where the file was deleted, what is still in force is written anew."""
        page = self._read()
        if page.signature is None and self._last_page is not None:
            return replace(self._last_page, signature=None)
        return page

    def _read(self) -> ConfigText:
        try:
            return read_text(self.path)
        except FileNotFoundError:
            return NO_TEXT
        except OSError as error:
            raise ConfigError(
                f"{self.path} can't be read: {error.strerror or error}.", "Make it a file that you may read."
            ) from error

    def _parse(self, page: ConfigText) -> Config:
        try:
            return read_config(page.text, self._ring_for)
        except ConfigError as error:
            mend = f"Mend {self.path}; until then the last good configuration stays in force."
            raise ConfigError(error.title, f"{error.hint} {mend}".strip(), line=error.line) from None

    def _keep(self, page: ConfigText) -> None:
        """Keep a good content as the backup; where that can't be (a folder mounted read-only), go on."""
        if page.signature is None:
            return
        with suppress(OSError):
            if not self.backup.exists() or self.backup.read_bytes() != page.data:
                write_atomic(self.backup, page.data, page.mode)

    def _write(self, page: ConfigText, text: str) -> None:
        data = page.encode(text)
        try:
            write_atomic(self.path, data, page.mode)
        except OSError as error:
            raise ConfigError(
                f"{self.path} can't be written: {error.strerror or error}.",
                "Make its folder writable for you, or free some space.",
            ) from error
        self._seen = self.signature_now()
        self._last_page = replace(page, text=text, data=data, signature=self._seen)


def _with(backends: tuple[Backend, ...], new: Backend) -> tuple[Backend, ...]:
    kept = tuple(new if old.id == new.id else old for old in backends)
    return kept if new in kept else (*kept, new)
