"""A tray icon over D-Bus alone: colour, tooltip, menu and clicks on any desktop that has StatusNotifierItems.

It needs no GTK, so that it works from a plain virtual environment.
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
from meshlight.desktop.tray.dbus.bus import ANSWER_S, WATCHER, WATCHER_PATH, ask
from meshlight.desktop.tray.dbus.menu import DBusMenu
from meshlight.desktop.tray.dbus.status_item import StatusItem
from meshlight.desktop.tray.menu_items import Item
from meshlight.desktop.tray.tray_icon import OnAction
from meshlight.domain.snapshot import Light

log = logging.getLogger(__name__)

PATIENCE_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""A watcher may own its name before it can answer: registering is tried again after these pauses."""

BusError = (DBusFastError, OSError, EOFError, TimeoutError)


class DBusTray:
    """A `TrayIcon` that speaks StatusNotifierItem; it runs its own event loop in the thread that calls `run`."""

    name = "D-Bus"

    def __init__(self, on_action: OnAction, address: str) -> None:
        self._address = address
        self._item = StatusItem(on_action)
        self._menu = DBusMenu(on_action)
        self._lock = threading.RLock()
        """Guards the wishes below, which any thread may change, and the loop that is told of them.
        Reentrant, as the handler of a signal may call `stop` while its own thread holds it."""
        self._light: Light = "grey"
        self._said = ""
        self._items: tuple[Item, ...] = ()
        self._is_stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()
        self._registering: asyncio.Task[None] | None = None

    def run(self, on_ready: Callable[[], None]) -> str:
        """Show the icon until `stop`; return why it was lost, if it was."""
        return asyncio.run(self._live(on_ready))

    def set_icon(self, light: Light) -> None:
        """Show this state."""
        with self._lock:
            if light != self._light:
                self._light = light
                self._tell()

    def set_tooltip(self, text: str) -> None:
        """Say this under the pointer."""
        with self._lock:
            if text != self._said:
                self._said = text
                self._tell()

    def set_menu(self, items: tuple[Item, ...]) -> None:
        """Offer this menu."""
        with self._lock:
            if items != self._items:
                self._items = items
                self._tell()

    def stop(self) -> None:
        """Take the icon away."""
        with self._lock:
            self._is_stopped = True
            self._tell()

    def _tell(self) -> None:
        """Wake the loop, from any thread; must be called with the lock held."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def _live(self, on_ready: Callable[[], None]) -> str:
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
        gone = asyncio.ensure_future(bus.wait_for_disconnect())  # type: ignore[no-untyped-call]  # as it comes
        try:
            self._show()
            bus.export(status_item.PATH, self._item)
            bus.export(dbus_menu.PATH, self._menu)
            own = await _own_name(bus)
            bus.add_message_handler(lambda message: self._notice(message, bus, own))
            await session_bus.follow_watcher(bus)
            if await session_bus.has_watcher(bus):
                registering = self._register(bus, own)
                await asyncio.wait({registering, gone}, timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
            on_ready()
            return await self._follow_wishes(gone)
        finally:
            if self._registering is not None:
                self._registering.cancel()
            bus.disconnect()
            with contextlib.suppress(*BusError):
                await gone

    def _notice(self, message: Message, bus: MessageBus, own: str) -> None:
        """Hand the icon to a watcher that has just come up."""
        if session_bus.watcher_came(message):
            self._register(bus, own)

    def _register(self, bus: MessageBus, own: str) -> asyncio.Task[None]:
        """Begin to hand the icon to the watcher; a try with an earlier one ends."""
        if self._registering is not None:
            self._registering.cancel()
        self._registering = asyncio.get_running_loop().create_task(_register_patiently(bus, own))
        return self._registering

    async def _follow_wishes(self, gone: asyncio.Future[None]) -> str:
        """Show each wish as it comes, until `stop` or the end of the connection; return why it ended."""
        gone.add_done_callback(lambda _: self._wake.set())
        while not gone.done() and not self._is_stopped:
            await self._wake.wait()
            self._wake.clear()
            self._show()
        return "" if self._is_stopped else "The session bus has closed the connection."

    def _show(self) -> None:
        with self._lock:
            light, said, items = self._light, self._said, self._items
        self._item.show(light, said)
        self._menu.replace(items)


async def _own_name(bus: MessageBus) -> str:
    """Take the well-known name of an item, and return the name to register: the connection's own if refused."""
    for number in count(1):
        name = f"org.kde.StatusNotifierItem-{os.getpid()}-{number}"
        try:
            reply = await bus.request_name(name, NameFlag.DO_NOT_QUEUE)
        except DBusFastError as error:  # a sandbox may forbid names of its own
            log.info("The bus gives no name to the icon: %s", error)
            break
        if reply is RequestNameReply.PRIMARY_OWNER:
            return name
    return bus.unique_name or ""


async def _register_patiently(bus: MessageBus, own: str) -> None:
    """Hand the icon to the watcher; one that doesn't take it is asked a few times, then left alone."""
    call = Message(WATCHER, WATCHER_PATH, WATCHER, "RegisterStatusNotifierItem", signature="s", body=[own])
    for pause_s in (*PATIENCE_S, None):
        try:
            await ask(bus, call)
        except BusError as error:
            log.info("The desktop did not take the tray icon: %s", error)
        else:
            return
        if pause_s is None:
            log.warning("The desktop does not take the tray icon. `meshlight open` opens the window.")
            return
        await asyncio.sleep(pause_s)
