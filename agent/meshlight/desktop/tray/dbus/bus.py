"""Joining the user's session bus, and whether somebody on it shows tray icons.

Where the user's session bus is.
"""

import asyncio
import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from dbus_fast import Message, MessageType
from dbus_fast.aio import MessageBus

WATCHER: Final = "org.kde.StatusNotifierWatcher"
WATCHER_PATH: Final = "/StatusNotifierWatcher"
DRIVER: Final = "org.freedesktop.DBus"
"""The bus itself; nobody else can speak under its name."""
DRIVER_PATH: Final = "/org/freedesktop/DBus"
ANSWER_S: Final = 2.0
"""A bus and a desktop answer in milliseconds; longer means that they hang."""


async def connect(at: str) -> MessageBus:
    """Join the bus. Raises what dbus-fast and sockets do when that fails, TimeoutError after ANSWER_S."""
    async with asyncio.timeout(ANSWER_S):
        return await MessageBus(at).connect()


async def ask(bus: MessageBus, message: Message) -> list[object]:
    """Call a method and return its answer; raises ConnectionError for an error answer, TimeoutError."""
    async with asyncio.timeout(ANSWER_S):
        reply = await bus.call(message)
    if reply.message_type is MessageType.ERROR:
        said = reply.body[0] if reply.body else reply.error_name
        raise ConnectionError(f"{message.interface}.{message.member}: {said}")
    return list(reply.body)


def to_driver(member: str, *arguments: str) -> Message:
    """Return a call of the bus itself, whose arguments are strings."""
    signature = "s" * len(arguments)
    return Message(DRIVER, DRIVER_PATH, DRIVER, member, signature=signature, body=list(arguments))


def watcher_came(message: Message) -> bool:
    """Whether a message says that a StatusNotifierWatcher has just come up."""
    return (
        message.message_type is MessageType.SIGNAL
        and message.sender == DRIVER  # a stranger may send a signal of that name, but not from there
        and message.member == "NameOwnerChanged"
        and message.signature == "sss"
        and message.body[0] == WATCHER
        and bool(message.body[2])
    )


async def follow_watcher(bus: MessageBus) -> None:
    """Ask the bus to send what `watcher_came` looks for."""
    rule = f"type='signal',sender='{DRIVER}',member='NameOwnerChanged',arg0='{WATCHER}'"
    await ask(bus, to_driver("AddMatch", rule))


async def has_watcher(bus: MessageBus) -> bool:
    """Whether somebody on the bus shows tray icons."""
    return (await ask(bus, to_driver("NameHasOwner", WATCHER))) == [True]


async def await_watcher(at: str, patience_s: float) -> bool:
    """Whether somebody on the bus at this address shows tray icons, now or within `patience_s`.

    Raises what `connect` and `ask` raise.
    """
    bus = await connect(at)
    came = asyncio.Event()

    def notice(message: Message) -> None:
        if watcher_came(message):
            came.set()

    try:
        bus.add_message_handler(notice)
        await follow_watcher(bus)
        if await has_watcher(bus):
            return True
        if patience_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await came.wait()
        return came.is_set()
    finally:
        bus.disconnect()
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # as it comes


def bus_address(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the address of the session bus, None where there is none."""
    if given := environment.get("DBUS_SESSION_BUS_ADDRESS"):
        return given
    folder = environment.get("XDG_RUNTIME_DIR")
    if folder and (Path(folder) / "bus").is_socket():
        return f"unix:path={folder}/bus"
    return None
