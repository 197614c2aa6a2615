"""The user's session bus: its address, connecting to it, and whether something on it shows tray icons."""

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
BUS: Final = "org.freedesktop.DBus"
"""The bus itself; no other program can send messages under its name."""
BUS_PATH: Final = "/org/freedesktop/DBus"
REPLY_TIMEOUT_S: Final = 2.0
"""A bus and a desktop answer in milliseconds; this much longer means that they hang."""


async def connect(address: str) -> MessageBus:
    """Connect to the bus. Raises the errors of dbus-fast and sockets; TimeoutError after REPLY_TIMEOUT_S."""
    async with asyncio.timeout(REPLY_TIMEOUT_S):
        return await MessageBus(address).connect()


async def call(bus: MessageBus, message: Message) -> list[object]:
    """Call a method and return its reply; raises ConnectionError for an error reply, TimeoutError for none."""
    async with asyncio.timeout(REPLY_TIMEOUT_S):
        reply = await bus.call(message)
    if reply.message_type is MessageType.ERROR:
        text = reply.body[0] if reply.body else reply.error_name
        raise ConnectionError(f"{message.interface}.{message.member}: {text}")
    return list(reply.body)


def bus_call(member: str, *arguments: str) -> Message:
    """Return a method call to the bus itself with string arguments."""
    signature = "s" * len(arguments)
    return Message(BUS, BUS_PATH, BUS, member, signature=signature, body=list(arguments))


def is_watcher_start(message: Message) -> bool:
    """Whether a message says that a StatusNotifierWatcher has just started."""
    return (
        message.message_type is MessageType.SIGNAL
        and message.sender == BUS  # other programs may send a signal of that name, but not as this sender
        and message.member == "NameOwnerChanged"
        and message.signature == "sss"
        and message.body[0] == WATCHER
        and bool(message.body[2])
    )


async def subscribe_to_watcher(bus: MessageBus) -> None:
    """Subscribe to the signal that `is_watcher_start` recognizes."""
    rule = f"type='signal',sender='{BUS}',member='NameOwnerChanged',arg0='{WATCHER}'"
    await call(bus, bus_call("AddMatch", rule))


async def has_watcher(bus: MessageBus) -> bool:
    """Whether a program on the bus shows tray icons."""
    return (await call(bus, bus_call("NameHasOwner", WATCHER))) == [True]


async def await_watcher(address: str, wait_s: float) -> bool:
    """Whether a program on the bus at this address shows tray icons, now or within `wait_s`.

    Raises the errors of `connect` and `call`.
    """
    bus = await connect(address)
    started = asyncio.Event()

    def on_message(message: Message) -> None:
        if is_watcher_start(message):
            started.set()

    try:
        bus.add_message_handler(on_message)
        await subscribe_to_watcher(bus)
        if await has_watcher(bus):
            return True
        if wait_s > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await started.wait()
        return started.is_set()
    finally:
        bus.disconnect()
        await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # dbus-fast has no types here


def bus_address(environment: Mapping[str, str] = os.environ) -> str | None:
    """Return the address of the session bus, or None if there is none."""
    if given := environment.get("DBUS_SESSION_BUS_ADDRESS"):
        return given
    folder = environment.get("XDG_RUNTIME_DIR")
    if folder and (Path(folder) / "bus").is_socket():
        return f"unix:path={folder}/bus"
    return None
