"""The configuration file: reads it, and edits it without losing anything that the user wrote.

Line ends, the byte order mark and the permissions stay as they were.
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
from meshlight.storage.config.parser import RingFor, read_config
from meshlight.storage.files import read_with_stat, write_atomic

Signature = tuple[int, int, int, int]
"""Identifies one state of a file: modification and change time in nanoseconds, size, inode."""

_BOM = b"\xef\xbb\xbf"


class ConfigText(Struct, frozen=True):
    """A text with Unix line ends, and how it was stored."""

    text: str
    data: bytes
    signature: Signature | None
    """None if there was no file."""
    mode: int = 0o600
    bom: bool = False
    crlf: bool = False

    def encode(self, text: str) -> bytes:
        """Return another text as bytes with the same line ends and byte order mark."""
        body = text if text.endswith("\n") else text + "\n"
        if self.crlf:
            body = body.replace("\n", "\r\n")
        return (_BOM if self.bom else b"") + body.encode()


NO_TEXT = ConfigText("", b"", None)
"""The content where there is no file."""


def read_text(path: Path) -> ConfigText:
    """Read the file; raises OSError, or ConfigError with the line that is not UTF-8."""
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
    """Return the signature, which changes when the file is written, replaced, or gets other permissions."""
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


_TRIES = 5
_TOP_LEVEL = (
    "port",
    "name",
    "require_key",
    "paused",
    "lane",
    "key_storage",
    "notifications",
    "keep_history",
    "check_updates",
    "allowed_hosts",
    "allowed_origins",
)
"""The settings outside of any table."""


class ConfigFile:
    """The TOML file at `path`; a missing one means the defaults.

    `config.toml.bak` beside it has the last valid content. Every edit reads the file first, so that changes by hand
    are kept even if they were not noticed yet. Each edit returns the whole new configuration. Thread-safe.
    """

    def __init__(self, path: Path, ring_for: RingFor) -> None:
        self.path = path
        self._ring_for = ring_for
        self._lock = threading.RLock()
        self._last_good = Config()
        self._last_content: ConfigText | None = None
        self._signature: Signature | None = None

    @property
    def backup(self) -> Path:
        """The path of the last valid content."""
        return self.path.with_name(self.path.name + ".bak")

    @property
    def last_good(self) -> Config:
        """The last valid configuration; the defaults before the first."""
        return self._last_good

    def load(self, *, must_exist: bool = False) -> Config:
        """Read the file; raises ConfigError with the line that is wrong, and then `last_good` stays.

        With `must_exist`, a missing file is an error and does not mean the defaults.
        """
        with self._lock:
            self._signature = self.current_signature()  # also of a broken file: it is reported once
            content = self._read()
            self._signature = content.signature
            if must_exist and content.signature is None:
                raise ConfigError(
                    f"{self.path} is gone.",
                    "The last good configuration stays in force; put the file back, or start Meshlight again "
                    "to start with the defaults.",
                )
            config = self._parse(content)
            self._last_good, self._last_content = config, content
            self._back_up(content)
            return config

    def load_or_last_good(self) -> tuple[Config, ConfigError | None]:
        """Return the configuration; of a broken file, the last valid one and the error."""
        try:
            return self.load(), None
        except ConfigError as error:
            with self._lock, suppress(OSError, ConfigError):
                backup = read_text(self.backup)
                self._last_good, self._last_content = read_config(backup.text, self._ring_for), backup
            return self._last_good, error

    def put_backend(self, backend: Backend) -> Config:
        """Add a backend, or change the one of the same id.

        A found engine becomes one of the user's own. Raises Conflict if another backend has its URL, BadRequest for
        an invalid value, ConfigError if the file is broken.
        """
        from meshlight.storage.config import changes  # noqa: PLC0415 - brings tomlkit, which only an edit needs

        own = replace(backend, source="config")

        return self._edit(
            lambda text, old: changes.put_backend(text, old, own, self._ring_for),
            lambda old: replace(old, backends=_with(old.backends, own)),
        )

    def remove_backend(self, id_: str) -> Config:
        """Remove a backend; raises NotFound, or ConfigError if the file is broken."""
        from meshlight.storage.config import changes  # noqa: PLC0415 - see `put_backend`

        return self._edit(
            lambda text, old: changes.remove_backend(text, old, id_, self._ring_for),
            lambda old: replace(old, backends=tuple(b for b in old.backends if b.id != id_)),
        )

    def set_routing(self, routing: Routing) -> Config:
        """Change the policy, the aliases and the rules to these."""
        from meshlight.storage.config import changes  # noqa: PLC0415 - see `put_backend`

        return self._edit(
            lambda text, old: changes.set_routing(text, old.routing, routing),
            lambda old: replace(old, routing=routing),
        )

    def set_discovery(self, discovery: DiscoverySettings) -> Config:
        """Change the discovery settings."""
        from meshlight.storage.config import changes  # noqa: PLC0415 - see `put_backend`

        return self._edit(
            lambda text, old: changes.set_discovery(text, old.discovery, discovery),
            lambda old: replace(old, discovery=discovery),
        )

    def change(self, wanted: Callable[[Config], Config]) -> Config:
        """Change any settings in one edit, so that either all of them hold or none.

        `wanted` makes the new configuration from what the file has now. Raises BadRequest for a wrong value, Conflict
        for a backend that is there twice.
        """
        from meshlight.storage.config import changes  # noqa: PLC0415 - see `put_backend`
        from meshlight.storage.config.toml_editor import set_value  # noqa: PLC0415 - the same

        def rewrite(text: str, old: Config) -> str:
            new = wanted(old)
            text = changes.set_backends(text, old, new.backends, self._ring_for)
            text = changes.set_routing(text, old.routing, new.routing)
            text = changes.set_discovery(text, old.discovery, new.discovery)
            text = changes.set_lan(text, old.lan, new.lan)
            text = changes.set_local(text, old.local, new.local)
            text = changes.set_peers(text, old.peers, new.peers)
            for key in _TOP_LEVEL:
                value = getattr(new, key)
                plain = list(value) if isinstance(value, tuple) else value
                text = text if getattr(old, key) == value else set_value(text, (key,), plain)
            return text

        return self._edit(rewrite, wanted)

    def set_value(
        self, key: Literal["port", "name", "require_key", "paused"], value: int | str | bool
    ) -> Config:
        """Change one top-level setting; raises BadRequest for an invalid value."""
        from meshlight.storage.config.toml_editor import set_value  # noqa: PLC0415 - see `put_backend`

        return self._edit(
            lambda text, old: text if getattr(old, key) == value else set_value(text, (key,), value),
            lambda old: replace(old, **{key: value}),
        )

    def current_signature(self) -> Signature | None:
        """Return the signature of the file on disk; None if it is missing or can't be accessed."""
        try:
            return signature_of(self.path.stat())
        except OSError:
            return None

    @property
    def last_signature(self) -> Signature | None:
        """The signature of the file when it was last read or written here."""
        return self._signature

    def _edit(self, change: Callable[[str, Config], str], wanted: Callable[[Config], Config]) -> Config:
        """Change the text, and write it only if it is read as the wanted configuration."""
        with self._lock:
            for _ in range(_TRIES):
                content = self._content_to_edit()
                old = self._parse(content)
                new = wanted(old)
                text = change(content.text, old)
                self._check(text, new)
                if self.current_signature() != content.signature:
                    continue  # the file was just saved by somebody else: start again from that
                self._back_up(content)
                self._last_content, self._signature = content, content.signature
                if text != content.text:
                    self._write(content, text)
                self._last_good = new
                return new
        raise ConfigError(f"{self.path} keeps changing while it is edited.", "Try again in a moment.")

    def _check(self, text: str, wanted: Config) -> None:
        """Refuse an edited text that is not read as the wanted configuration."""
        try:
            found = read_config(text, self._ring_for)
        except ConfigError as error:
            problem = error.title.removeprefix(f"line {error.line}: ")
            raise BadRequest(f"The configuration stays as it is: {problem}", error.hint) from None
        if found != wanted:
            raise ConfigError(
                f"This change can't be made in {self.path} as it is laid out.", "Make it by hand, please."
            )

    def _content_to_edit(self) -> ConfigText:
        """Return the content to edit; of a deleted file, the last content, which is then written again."""
        content = self._read()
        if content.signature is None and self._last_content is not None:
            return replace(self._last_content, signature=None)
        return content

    def _read(self) -> ConfigText:
        try:
            return read_text(self.path)
        except FileNotFoundError:
            return NO_TEXT
        except OSError as error:
            raise ConfigError(
                f"{self.path} can't be read: {error.strerror or error}.", "Make it a file that you may read."
            ) from error

    def _parse(self, content: ConfigText) -> Config:
        try:
            return read_config(content.text, self._ring_for)
        except ConfigError as error:
            fix = f"Fix {self.path}; until then the last good configuration stays in force."
            raise ConfigError(error.title, f"{error.hint} {fix}".strip(), line=error.line) from None

    def _back_up(self, content: ConfigText) -> None:
        """Write the backup; an error (a read-only folder) is ignored."""
        if content.signature is None:
            return
        with suppress(OSError):
            if not self.backup.exists() or self.backup.read_bytes() != content.data:
                write_atomic(self.backup, content.data, content.mode)

    def _write(self, content: ConfigText, text: str) -> None:
        data = content.encode(text)
        try:
            write_atomic(self.path, data, content.mode)
        except OSError as error:
            raise ConfigError(
                f"{self.path} can't be written: {error.strerror or error}.",
                "Make its folder writable for you, or free some space.",
            ) from error
        self._signature = self.current_signature()
        self._last_content = replace(content, text=text, data=data, signature=self._signature)


def _with(backends: tuple[Backend, ...], new: Backend) -> tuple[Backend, ...]:
    kept = tuple(new if old.id == new.id else old for old in backends)
    return kept if new in kept else (*kept, new)
