"""Chooses the tray icon for this desktop: D-Bus first, then pystray's backends, or none with the reason."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Mapping
from typing import Final, get_args

from msgspec import Struct

from meshlight.desktop.tray.dbus.bus import bus_address
from meshlight.desktop.tray.interface import OnAction, TrayIcon
from meshlight.desktop.tray.pystray.toolkit import PystrayBackend, Toolkit, load
from meshlight.desktop.tray.pystray.tray import PystrayTray
from meshlight.desktop.window.system_gtk import use_system_gtk
from meshlight.domain.text import sanitize

log = logging.getLogger(__name__)

TRAY_VARIABLE: Final = "MESHLIGHT_TRAY"
"""Environment variable that selects one tray: `dbus`, the name of a pystray backend, or `none`."""
_NO_TRAY_TEXT: Final = (
    "This desktop shows no tray icons: there is no tray on the session bus (StatusNotifierWatcher) or on the X "
    "display. GNOME needs the extension AppIndicator."
)


class NoTrayHost(Struct, frozen=True):
    """No tray icon is possible here; `reason` is one line for people."""

    reason: str


def choose_tray(
    on_action: OnAction,
    *,
    wait_s: float = 0.0,
    environment: Mapping[str, str] = os.environ,
    platform: str = sys.platform,
) -> TrayIcon | NoTrayHost:
    """Return the best tray icon for this desktop, not yet running, or why there is none.

    Blocks for at most a few seconds, and for `wait_s` more while there is no tray: right after login the desktop
    may not have started its panel.
    """
    requested = environment.get(TRAY_VARIABLE, "")
    if requested == "none":
        return NoTrayHost(f"No tray icon, as {TRAY_VARIABLE} says.")
    if requested and requested not in {"dbus", *get_args(PystrayBackend)}:
        return NoTrayHost(
            f"{TRAY_VARIABLE} is {sanitize(requested)!r}, but must be one of: dbus, "
            f"{', '.join(get_args(PystrayBackend))}, none."
        )
    if requested and requested != "dbus":
        return _first_pystray(
            on_action, [backend for backend in get_args(PystrayBackend) if backend == requested]
        )
    if platform == "darwin":
        return _first_pystray(on_action, ["darwin"])
    if platform == "win32":
        return _first_pystray(on_action, ["win32"])
    return _on_linux(on_action, wait_s, environment, only_dbus=bool(requested))


def _on_linux(
    on_action: OnAction, wait_s: float, environment: Mapping[str, str], *, only_dbus: bool
) -> TrayIcon | NoTrayHost:
    if not only_dbus:
        if not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
            return NoTrayHost("There is no display here, so there is no tray icon.")
        if environment.get("SSH_CONNECTION"):
            return NoTrayHost(
                "This is an SSH session: a tray icon would appear on the other machine's screen or nowhere."
            )
    address = bus_address(environment)
    tray = _dbus(on_action, wait_s, address)
    if isinstance(tray, NoTrayHost) and not only_dbus and environment.get("DISPLAY") and _has_x11_tray():
        with_gtk: list[PystrayBackend] = [
            "gtk",
            "appindicator",
            "xorg",
        ]  # which fail without a bus once they run
        return _first_pystray(on_action, with_gtk if address else ["xorg"])
    return tray


def _dbus(on_action: OnAction, wait_s: float, address: str | None) -> TrayIcon | NoTrayHost:
    """Return the D-Bus tray icon if something on the session bus shows icons."""
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
        found = asyncio.run(session_bus.await_watcher(address, wait_s))
    except BusError as error:
        return NoTrayHost(
            f"The session bus doesn't answer, so there is no tray icon: {str(error) or 'timed out'}."
        )
    return DBusTray(on_action, address) if found else NoTrayHost(_NO_TRAY_TEXT)


def _first_pystray(
    on_action: OnAction, backends: list[PystrayBackend], load: Callable[[PystrayBackend], Toolkit] = load
) -> TrayIcon | NoTrayHost:
    """Return a tray icon by the first of these pystray backends that can be loaded."""
    reason = ""
    if {"gtk", "appindicator"} & set(backends):
        use_system_gtk()
    for backend in backends:
        try:
            return PystrayTray(on_action, backend, load(backend))
        except Exception as error:  # noqa: BLE001 -- besides ImportError: of the display, of GTK, of AppKit
            reason = sanitize(str(error)) or type(error).__name__
            log.info("No tray icon by pystray's %s: %s", backend, reason)
    return NoTrayHost(f"No tray icon can be shown here: {reason}")


def _has_x11_tray() -> bool:
    """Whether the X display has a system tray of the old protocol (XEmbed)."""
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
