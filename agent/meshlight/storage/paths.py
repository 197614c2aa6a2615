"""Where everything of Meshlight's lies on this machine."""

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace
from platformdirs import PlatformDirs

from meshlight.storage.files import make_folder, refuse_shared, sweep


class Paths(Struct, frozen=True, kw_only=True):
    """The paths of all files that last; `MESHLIGHT_HOME` puts them into one folder."""

    config_file: Path
    state_dir: Path
    runtime_file: Path
    """Where the running service is; there only while one runs."""
    key_file: Path
    lock_file: Path
    log_file: Path
    history_file: Path
    secrets_file: Path
    """Used only with the insecure storage that the user has to ask for."""

    @classmethod
    def here(cls, environ: Mapping[str, str] = os.environ) -> "Paths":
        """Return the places of this user on this machine; nothing is made yet.

        `MESHLIGHT_HOME` (may begin with `~`) wins over the system's own folders for settings, state and logs.
        """
        if home := environ.get("MESHLIGHT_HOME", "").strip():
            folder = Path(home).expanduser().absolute()
            return cls.under(config_dir=folder, state_dir=folder, log_dir=folder)
        system = PlatformDirs("meshlight", appauthor=False)
        return cls.under(
            config_dir=system.user_config_path,
            state_dir=system.user_state_path,
            log_dir=system.user_log_path,
        )

    @classmethod
    def under(cls, *, config_dir: Path, state_dir: Path, log_dir: Path) -> "Paths":
        """Name the files inside the three folders."""
        return cls(
            config_file=config_dir / "config.toml",
            state_dir=state_dir,
            runtime_file=state_dir / "runtime.json",
            key_file=state_dir / "local.key",
            lock_file=state_dir / "service.lock",
            log_file=log_dir / "meshlight.log",
            history_file=state_dir / "history.sqlite",
            secrets_file=state_dir / "secrets.json",
        )

    def with_config_file(self, path: Path) -> "Paths":
        """Return the same places with another configuration file, as `--config` asks."""
        return replace(self, config_file=path.expanduser().absolute())

    def prepare(self) -> None:
        """Make the folders (0700) and sweep what a killed writer left; raises OSError where that can't be.

        Raises ServiceError for a folder in which others could exchange what is kept there.
        """
        for folder in self._folders():
            refuse_shared(folder)
            make_folder(folder)
            sweep(folder)

    def check(self) -> None:
        """Refuse folders in which others could exchange what is kept there; raises ServiceError."""
        for folder in self._folders():
            refuse_shared(folder)

    def _folders(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys((self.config_file.parent, self.state_dir, self.log_file.parent)))
