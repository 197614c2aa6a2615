"""The paths of Meshlight's files on this machine."""

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from meshlight.storage.files import make_folder, refuse_shared, sweep


class Paths(Struct, frozen=True, kw_only=True):
    """The paths of all stored files; `MESHLIGHT_HOME` puts them into one folder."""

    config_file: Path
    state_dir: Path
    runtime_file: Path
    """Says where the running service listens; exists only while one runs."""
    key_file: Path
    lock_file: Path
    log_file: Path
    history_file: Path
    secrets_file: Path
    """The keys of backends, where the user has chosen a file for them."""
    app_keys_file: Path
    """Hashes of the keys of single apps."""
    models_dir: Path
    """The folder of our own for this machine's models; created by the first download."""
    engines_dir: Path
    """Engines that were downloaded."""

    @classmethod
    def here(cls, environ: Mapping[str, str] = os.environ) -> "Paths":
        """Return the paths of this user on this machine; nothing is created yet.

        `MESHLIGHT_HOME` (may begin with `~`) replaces the system's own folders for settings, state and logs.
        """
        if home := environ.get("MESHLIGHT_HOME", "").strip():
            folder = Path(home).expanduser().absolute()
            return cls.under(config_dir=folder, state_dir=folder, log_dir=folder)
        from platformdirs import PlatformDirs  # noqa: PLC0415 - not needed with MESHLIGHT_HOME

        system = PlatformDirs("meshlight", appauthor=False)
        return cls.under(
            config_dir=system.user_config_path,
            state_dir=system.user_state_path,
            log_dir=system.user_log_path,
            data_dir=system.user_data_path,
        )

    @classmethod
    def under(
        cls, *, config_dir: Path, state_dir: Path, log_dir: Path, data_dir: Path | None = None
    ) -> "Paths":
        """Return the paths of the files in these folders; what is large goes to `data_dir`, else to the state."""
        return cls(
            config_file=config_dir / "config.toml",
            state_dir=state_dir,
            runtime_file=state_dir / "runtime.json",
            key_file=state_dir / "local.key",
            lock_file=state_dir / "service.lock",
            log_file=log_dir / "meshlight.log",
            history_file=state_dir / "history.sqlite",
            secrets_file=state_dir / "secrets.json",
            app_keys_file=state_dir / "keys.json",
            models_dir=(data_dir or state_dir) / "models",
            engines_dir=(data_dir or state_dir) / "engines",
        )

    def with_config_file(self, path: Path) -> "Paths":
        """Return the same paths with another configuration file, for `--config`."""
        return replace(self, config_file=path.expanduser().absolute())

    def prepare(self) -> None:
        """Create the folders (mode 0700) and remove the temporary files of killed writers.

        Raises OSError, and ServiceError for a folder in which other users could replace files.
        """
        for folder in self._folders():
            refuse_shared(folder)
            make_folder(folder)
            sweep(folder)

    def check(self) -> None:
        """Raise ServiceError for a folder in which other users could replace files."""
        for folder in self._folders():
            refuse_shared(folder)

    def _folders(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys((self.config_file.parent, self.state_dir, self.log_file.parent)))
