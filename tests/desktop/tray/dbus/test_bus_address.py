import socket
from pathlib import Path

from meshlight.desktop.tray.dbus.bus import bus_address


def test_the_session_says_where_its_bus_is() -> None:
    given = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/bus", "XDG_RUNTIME_DIR": "/nowhere"}
    assert bus_address(given) == "unix:path=/run/bus"


def test_where_it_says_nothing_the_bus_lies_in_the_runtime_folder(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bus:
        bus.bind(str(tmp_path / "bus"))
        assert bus_address({"XDG_RUNTIME_DIR": str(tmp_path)}) == f"unix:path={tmp_path}/bus"


def test_a_machine_without_a_session_has_no_bus(tmp_path: Path) -> None:
    assert bus_address({}) is None
    assert bus_address({"XDG_RUNTIME_DIR": str(tmp_path)}) is None
