"""Which way to the tray this desktop offers: our own over D-Bus first, then pystray's, or none and why."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Final, get_args

from msgspec import Struct

from meshlight.desktop.tray.dbus.bus import bus_address
from meshlight.desktop.tray.pystray.toolkit import PystrayBackend, Toolkit, load
from meshlight.desktop.tray.pystray.tray import PystrayTray
from meshlight.desktop.tray.tray_icon import OnAction, TrayIcon
from meshlight.desktop.window.system_gtk import use_system_gtk
from meshlight.domain.text import sanitize

log = logging.getLogger(__name__)

VARIABLE: Final = "MESHLIGHT_TRAY"
"""Environment variable that names one way and rules out the others: `dbus`, pystray's names, or `none`."""
_NO_HOST: Final = (
    "This desktop shows no tray icons: nothing on the session bus (StatusNotifierWatcher) or on the X display "
    "takes them. GNOME needs the extension AppIndicator."
)


class NoTrayHost(Struct, frozen=True):
    """There can be no icon here; `reason` is one line for people."""

    reason: str


def choose_tray(
    on_action: OnAction,
    *,
    patience_s: float = 0.0,
    environment: Mapping[str, str] = os.environ,
    platform: str = sys.platform,
) -> TrayIcon | NoTrayHost:
    """Return the best face for this desktop, not yet running, or why there is none.

    Blocks for at most a few seconds, and for `patience_s` more while nobody shows tray icons: right after
    login the desktop may not have started its panel.
    """
    asked = environment.get(VARIABLE, "")
    if asked == "none":
        return NoTrayHost(f"No tray icon, as {VARIABLE} says.")
    if asked and asked not in {"dbus", *get_args(PystrayBackend)}:
        return NoTrayHost(
            f"{VARIABLE} is {sanitize(asked)!r}, but can only be: dbus, {', '.join(get_args(PystrayBackend))}, none."
        )
    if asked and asked != "dbus":
        return _first_of(on_action, [way for way in get_args(PystrayBackend) if way == asked])
    if platform == "darwin":
        return _first_of(on_action, ["darwin"])
    if platform == "win32":
        return _first_of(on_action, ["win32"])
    return _on_linux(on_action, patience_s, environment, only_dbus=bool(asked))


def _on_linux(
    on_action: OnAction, patience_s: float, environment: Mapping[str, str], *, only_dbus: bool
) -> TrayIcon | NoTrayHost:
    if not only_dbus:
        if not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
            return NoTrayHost("There is no display here, so there is no tray icon.")
        if environment.get("SSH_CONNECTION"):
            return NoTrayHost(
                "This is an SSH session: a tray icon would appear on the other machine's screen or nowhere."
            )
    address = bus_address(environment)
    face = _dbus(on_action, patience_s, address)
    if isinstance(face, NoTrayHost) and not only_dbus and environment.get("DISPLAY") and _x_tray():
        with_gtk: list[PystrayBackend] = [
            "gtk",
            "appindicator",
            "xorg",
        ]  # which fail without a bus once they run
        return _first_of(on_action, with_gtk if address else ["xorg"])
    return face


def _dbus(on_action: OnAction, patience_s: float, address: str | None) -> TrayIcon | NoTrayHost:
    """Return our own face where somebody on the session bus shows icons."""
    try:
        from meshlight.desktop.tray.dbus import bus as session_bus  # noqa: PLC0415 -- Linux alone
        from meshlight.desktop.tray.dbus.tray import BusError, DBusTray  # noqa: PLC0415
    except ImportError as error:
        return NoTrayHost(f"The tray icon needs the package dbus-fast: {error}.")
    if address is None:
        return NoTrayHost(
            "There is no session bus here (DBUS_SESSION_BUS_ADDRESS is not set), so there is no tray icon."
        )
    try:
        found = asyncio.run(session_bus.await_watcher(address, patience_s))
    except BusError as error:
        return NoTrayHost(
            f"The session bus doesn't answer, so there is no tray icon: {str(error) or 'timed out'}."
        )
    return DBusTray(on_action, address) if found else NoTrayHost(_NO_HOST)


def _first_of(
    on_action: OnAction, ways: list[PystrayBackend], load: Callable[[PystrayBackend], Toolkit] = load
) -> TrayIcon | NoTrayHost:
    """Return the first of pystray's ways that can be loaded."""
    said = ""
    if {"gtk", "appindicator"} & set(ways):
        use_system_gtk()
    for way in ways:
        try:
            return PystrayTray(on_action, way, load(way))
        except Exception as error:  # noqa: BLE001 -- besides ImportError: of the display, of GTK, of AppKit
            said = sanitize(str(error)) or type(error).__name__
            log.info("No tray icon by pystray's %s: %s", way, said)
    return NoTrayHost(f"No tray icon can be shown here: {said}")


def _x_tray() -> bool:
    """Whether the X display has a system tray of the old kind (XEmbed)."""
    try:
        from Xlib.display import Display  # noqa: PLC0415 -- touches the display

        display = Display()
    except Exception as error:  # noqa: BLE001 -- Xlib raises classes of its own, OSError, and more
        log.info("The X display can't be used: %s", error)
        return False
    try:
        selection = display.intern_atom(f"_NET_SYSTEM_TRAY_S{display.get_default_screen()}")
        return bool(display.get_selection_owner(selection))
    finally:
        display.close()
