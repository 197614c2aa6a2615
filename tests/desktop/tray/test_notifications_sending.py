import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusDict, DBusInt32, DBusSignature, DBusStr, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method, dbus_signal

from desktop.session import SessionBus
from meshlight.desktop.tray.notifications import Notification, _command, send_notification

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="plays a Linux desktop")
NAME = "org.freedesktop.Notifications"
SEND = "import sys; from meshlight.desktop.tray.notifications import Notification, send_notification; "


class Daemon(ServiceInterface):
    """Plays the part of the desktop that shows notifications."""

    def __init__(self) -> None:
        super().__init__(NAME)
        self.shown: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue()

    @dbus_method(name="Notify")
    def notify(
        self,
        app: DBusStr,
        _replaces: DBusUInt32,
        _icon: DBusStr,
        title: DBusStr,
        body: DBusStr,
        _actions: Annotated[list[str], DBusSignature("as")],
        _hints: DBusDict,
        _timeout: DBusInt32,
    ) -> DBusUInt32:
        self.shown.put_nowait((app, title, body))
        return 1

    @dbus_method(name="GetCapabilities")
    def capabilities(self) -> Annotated[list[str], DBusSignature("as")]:
        return ["body", "body-markup", "actions"]

    @dbus_signal(name="ActionInvoked")
    def invoked(self, note: int, action: str) -> Annotated[list[Any], DBusSignature("us")]:
        return [note, action]

    @dbus_signal(name="NotificationClosed")
    def closed(self, note: int, why: int) -> Annotated[list[Any], DBusSignature("uu")]:
        return [note, why]

    @dbus_method(name="GetServerInformation")
    def information(self) -> Annotated[Any, DBusSignature("ssss")]:
        return ["test", "test", "1", "1.2"]


async def test_a_note_is_shown_by_the_desktop_and_its_text_is_not_taken_for_markup(tmp_path: Path) -> None:
    with SessionBus(tmp_path) as bus:
        daemon = Daemon()
        connection = await MessageBus(bus.address).connect()
        connection.export("/org/freedesktop/Notifications", daemon)
        await connection.request_name(NAME)
        code = f"{SEND} sys.exit(not send_notification(Notification('box is down', '<b>refused</b> & more')))"
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, env={"DBUS_SESSION_BUS_ADDRESS": bus.address, "PATH": ""}
        )
        shown = await asyncio.wait_for(daemon.shown.get(), 20)
        assert shown == ("Meshlight", "box is down", "&lt;b&gt;refused&lt;/b&gt; &amp; more")
        assert await asyncio.wait_for(process.wait(), 20) == 0
        connection.disconnect()


@pytest.mark.parametrize(("is_clicked", "output"), [(True, b"clicked\n"), (False, b"")])
async def test_a_click_on_a_note_does_what_it_is_for_and_closing_it_does_not(
    tmp_path: Path, is_clicked: bool, output: bytes
) -> None:
    with SessionBus(tmp_path) as bus:
        daemon = Daemon()
        connection = await MessageBus(bus.address).connect()
        connection.export("/org/freedesktop/Notifications", daemon)
        await connection.request_name(NAME)
        code = f"{SEND} send_notification(Notification('Bo asks', '1', lambda: print('clicked')))"
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            code,
            env={"DBUS_SESSION_BUS_ADDRESS": bus.address, "PATH": ""},
            stdout=asyncio.subprocess.PIPE,
        )
        await asyncio.wait_for(daemon.shown.get(), 20)
        end = asyncio.ensure_future(process.communicate())
        async with asyncio.timeout(20):
            # No person is as quick as this: the first may come before the note's own number.
            while not end.done():
                if is_clicked:
                    daemon.invoked(1, "default")
                else:
                    daemon.closed(1, 2)
                await asyncio.wait((end,), timeout=0.2)
        assert (await end)[0] == output
        connection.disconnect()


def test_without_a_bus_and_a_program_nothing_is_shown_and_nothing_breaks() -> None:
    code = f"{SEND} print(send_notification(Notification('t', 'b')))"
    environ = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nowhere", "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True
    )
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_on_a_mac_the_texts_are_words_of_the_command_never_part_of_a_script() -> None:
    command = _command(Notification('a" & b', "body"), "darwin")
    assert command is not None
    assert command[0] == "osascript"
    assert command[-2:] == ['a" & b', "body"]
    assert _command(Notification("a", "b"), "win32") is None
    assert callable(send_notification)
