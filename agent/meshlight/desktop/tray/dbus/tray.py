"""A tray icon by D-Bus: colour, tooltip, menu and clicks on any desktop that supports StatusNotifierItem.

It needs no GTK, so it works from a plain virtual environment.
"""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable
from itertools import count
from typing import Final

from dbus_fast import DBusFastError, Message, NameFlag, RequestNameReply
from dbus_fast.aio import MessageBus

from meshlight.desktop.tray.dbus import bus as session_bus
from meshlight.desktop.tray.dbus import menu as dbus_menu
from meshlight.desktop.tray.dbus import status_item
from meshlight.desktop.tray.dbus.bus import REPLY_TIMEOUT_S, WATCHER, WATCHER_PATH, call
from meshlight.desktop.tray.dbus.menu import DBusMenu
from meshlight.desktop.tray.dbus.status_item import StatusItem
from meshlight.desktop.tray.interface import OnAction
from meshlight.desktop.tray.menu_items import Item
from meshlight.domain.snapshot import Light

log = logging.getLogger(__name__)

RETRY_DELAYS_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""A watcher may own its name before it can answer: registration is retried after these delays."""

BusError = (DBusFastError, OSError, EOFError, TimeoutError)


class DBusTray:
    """A `TrayIcon` by StatusNotifierItem; `run` runs an event loop of its own in the calling thread."""

    name = "D-Bus"

    def __init__(self, on_action: OnAction, address: str) -> None:
        self._address = address
        self._item = StatusItem(on_action)
        self._menu = DBusMenu(on_action)
        self._lock = threading.RLock()
        """Guards the desired state below, which any thread may change, and the loop that applies it.
        Reentrant, as a signal handler may call `stop` while its own thread holds it."""
        self._light: Light = "grey"
        self._tooltip = ""
        self._items: tuple[Item, ...] = ()
        self._is_stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._registering: asyncio.Task[None] | None = None

    def run(self, on_ready: Callable[[], None]) -> str:
        """Show the icon until `stop` and return ""; or return why the icon was lost."""
        return asyncio.run(self._run_loop(on_ready))

    def set_icon(self, light: Light) -> None:
        """Show this colour."""
        with self._lock:
            if light != self._light:
                self._light = light
                self._wake_loop()

    def set_tooltip(self, text: str) -> None:
        """Show this as the tooltip."""
        with self._lock:
            if text != self._tooltip:
                self._tooltip = text
                self._wake_loop()

    def set_menu(self, items: tuple[Item, ...]) -> None:
        """Show this menu."""
        with self._lock:
            if items != self._items:
                self._items = items
                self._wake_loop()

    def stop(self) -> None:
        """Remove the icon."""
        with self._lock:
            self._is_stopped = True
            self._wake_loop()

    def _wake_loop(self) -> None:
        """Wake the loop, from any thread; must be called with the lock held."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def _run_loop(self, on_ready: Callable[[], None]) -> str:
        with self._lock:
            self._loop = asyncio.get_running_loop()
            self._wake.set()
        try:
            return await self._serve(on_ready)
        except BusError as error:
            return f"The session bus can't be used: {str(error) or type(error).__name__}."
        finally:
            with self._lock:
                self._loop = None

    async def _serve(self, on_ready: Callable[[], None]) -> str:
        if self._is_stopped:
            return ""
        bus = await session_bus.connect(self._address)
        disconnected = asyncio.ensure_future(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]  # dbus-fast has no types here
        try:
            self._show()
            bus.export(status_item.PATH, self._item)
            bus.export(dbus_menu.PATH, self._menu)
            own_name = await _request_own_name(bus)
            bus.add_message_handler(lambda message: self._on_message(message, bus, own_name))
            await session_bus.subscribe_to_watcher(bus)
            if await session_bus.has_watcher(bus):
                registering = self._register(bus, own_name)
                await asyncio.wait(
                    {registering, disconnected}, timeout=REPLY_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED
                )
            on_ready()
            return await self._apply_changes(disconnected)
        finally:
            if self._registering is not None:
                self._registering.cancel()
            bus.disconnect()
            with contextlib.suppress(*BusError):
                await disconnected

    def _on_message(self, message: Message, bus: MessageBus, own_name: str) -> None:
        """Register the icon with a watcher that has just started."""
        if session_bus.is_watcher_start(message):
            self._register(bus, own_name)

    def _register(self, bus: MessageBus, own_name: str) -> asyncio.Task[None]:
        """Start registering the icon with the watcher; an earlier attempt is cancelled."""
        if self._registering is not None:
            self._registering.cancel()
        self._registering = asyncio.get_running_loop().create_task(_register_with_retries(bus, own_name))
        return self._registering

    async def _apply_changes(self, disconnected: asyncio.Future[None]) -> str:
        """Apply each change until `stop` or the end of the connection; return why it ended."""
        disconnected.add_done_callback(lambda _: self._wake.set())
        while not disconnected.done() and not self._is_stopped:
            await self._wake.wait()
            self._wake.clear()
            self._show()
        return "" if self._is_stopped else "The session bus has closed the connection."

    def _show(self) -> None:
        with self._lock:
            light, tooltip_text, items = self._light, self._tooltip, self._items
        self._item.show(light, tooltip_text)
        self._menu.replace(items)


async def _request_own_name(bus: MessageBus) -> str:
    """Request the well-known name of an item, and return the name to register: the unique name if refused."""
    for number in count(1):
        name = f"org.kde.StatusNotifierItem-{os.getpid()}-{number}"
        try:
            reply = await bus.request_name(name, NameFlag.DO_NOT_QUEUE)
        except DBusFastError as error:  # a sandbox may forbid well-known names
            log.info("The bus gives no name to the icon: %s", error)
            break
        if reply is RequestNameReply.PRIMARY_OWNER:
            return name
    return bus.unique_name or ""


async def _register_with_retries(bus: MessageBus, own_name: str) -> None:
    """Register the icon with the watcher, with a few retries."""
    registration = Message(
        WATCHER, WATCHER_PATH, WATCHER, "RegisterStatusNotifierItem", signature="s", body=[own_name]
    )
    for pause_s in (*RETRY_DELAYS_S, None):
        try:
            await call(bus, registration)
        except BusError as error:
            log.info("The desktop did not take the tray icon: %s", error)
        else:
            return
        if pause_s is None:
            log.warning("The desktop does not take the tray icon. `meshlight open` opens the window.")
            return
        await asyncio.sleep(pause_s)
