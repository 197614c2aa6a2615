"""The file that tells where the running service is."""

from contextlib import suppress
from pathlib import Path

import msgspec

from meshlight.domain.runtime import Runtime
from meshlight.store.files import read_capped, write_atomic


class RuntimeFile:
    """The runtime file at one path: written after the port is bound, removed when the service ends."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, runtime: Runtime) -> None:
        """Tell everybody of this user where the service is; raises OSError."""
        write_atomic(self.path, msgspec.json.encode(runtime))

    def read(self) -> Runtime | None:
        """Return what the last service wrote, or None where there is nothing usable.

        A service that was killed leaves its file: whoever reads it has `/healthz` prove itself.
        """
        try:
            return msgspec.json.decode(read_capped(self.path), type=Runtime)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def remove(self, instance: str) -> bool:
        """Remove the file if it is still that of `instance`; return whether it was."""
        found = self.read()
        if found is None or found.instance != instance:
            return False
        with suppress(OSError):
            self.path.unlink()
        return True
