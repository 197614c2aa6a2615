"""A real Secret Service: GNOME Keyring on a session bus of its own, locked and unlocked as a login does it."""

import os
import subprocess
from contextlib import AbstractContextManager, closing
from pathlib import Path
from shutil import which
from types import TracebackType
from typing import Any, Self

import secretstorage
from jeepney import DBusAddress, new_method_call  # type: ignore[import-untyped]  # as it comes
from jeepney.io.blocking import open_dbus_connection  # type: ignore[import-untyped]  # the same
from secretstorage.util import format_secret, open_session

from desktop.session import SessionBus
from process_fixture import wait_until

HERE = which("gnome-keyring-daemon") is not None and which("dbus-daemon") is not None
PASSWORD = b"correct horse"
LOGIN = "/org/freedesktop/secrets/collection/login"
_SERVICE = DBusAddress(
    "/org/freedesktop/secrets",
    "org.freedesktop.secrets",
    "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface",
)


class GnomeKeyring:
    """Runs the daemon; `environ` is what programs need to find it and no other."""

    def __init__(self, folder: Path) -> None:
        run = folder / "run"
        run.mkdir(mode=0o700, parents=True)
        self._bus = SessionBus(folder)
        self.environ = {
            "DBUS_SESSION_BUS_ADDRESS": self._bus.address,
            "XDG_RUNTIME_DIR": str(run),
            "XDG_DATA_HOME": str(folder / "data"),
            "HOME": str(folder),
            "DISPLAY": "",
        }
        self._daemon = subprocess.Popen(
            ["gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **self.environ},
        )
        assert self._daemon.stdin is not None
        self._daemon.stdin.write(PASSWORD)
        self._daemon.stdin.close()

    def __enter__(self) -> Self:
        wait_until(self._is_there)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._daemon.terminate()
        self._daemon.wait()
        self._bus.end()

    def lock(self) -> None:
        """As when the screen is locked, or nobody has logged in."""
        with self._connected() as bus:
            secretstorage.Collection(bus, LOGIN).lock()

    def unlock(self) -> None:
        """As a login does, without a dialog."""
        with self._connected() as bus:
            secret = format_secret(open_session(bus), PASSWORD, "text/plain")
            bus.send_and_get_reply(
                new_method_call(_SERVICE, "UnlockWithMasterPassword", "o(oayays)", (LOGIN, secret))
            )

    def _connected(self) -> AbstractContextManager[Any]:
        return closing(open_dbus_connection(self._bus.address))

    def _is_there(self) -> bool:
        try:
            with self._connected() as bus:
                return bool(secretstorage.Collection(bus, LOGIN).get_label())
        except secretstorage.exceptions.SecretStorageException:
            return False
