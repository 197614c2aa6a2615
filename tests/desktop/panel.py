"""A desktop's panel as far as tray icons go: it watches for them, reads them, and clicks where a hand would."""

import asyncio
import contextlib
from collections.abc import Callable
from types import TracebackType
from typing import Annotated, Any, Self

from dbus_fast import Message, MessageType, PropertyAccess, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusBool, DBusInt32, DBusSignature, DBusStr
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property
from msgspec import Struct

WATCHER = "org.kde.StatusNotifierWatcher"
ITEM = "org.kde.StatusNotifierItem"
MENU = "com.canonical.dbusmenu"
PROPERTIES = "org.freedesktop.DBus.Properties"
WAIT_S = 30.0


class MenuLine(Struct, frozen=True, kw_only=True):
    """One line of a menu as a desktop would draw it."""

    number: int
    label: str = ""
    enabled: bool = True
    checked: bool | None = None
    is_separator: bool = False
    lines: tuple["MenuLine", ...] = ()

    def find(self, *labels: str) -> "MenuLine":
        """Return the line to which these beginnings of labels lead, one level each."""
        first, *rest = labels
        found = [line for line in self.lines if line.label.startswith(first)]
        assert len(found) == 1, f"{first!r} in {[line.label for line in self.lines]}"
        return found[0].find(*rest) if rest else found[0]


class Icon:
    """One icon in the panel."""

    def __init__(self, bus: MessageBus, name: str, path: str) -> None:
        self._bus, self.name, self._path = bus, name, path
        self.signals: list[str] = []
        """Members of the signals that came from it, in order."""
        self._news = asyncio.Event()

    def heard(self, member: str) -> None:
        """Note a signal."""
        self.signals.append(member)
        self._news.set()

    async def until_signal(self, member: str, times: int = 1) -> None:
        """Wait until this signal has come so many times since the last `forget`."""
        async with asyncio.timeout(WAIT_S):
            while self.signals.count(member) < times:
                self._news.clear()
                await self._news.wait()

    def forget(self) -> None:
        """Forget the signals that came."""
        self.signals.clear()

    async def get(self, name: str, interface: str = ITEM, path: str = "") -> Any:
        """Read a property."""
        message = Message(
            self.name, path or self._path, PROPERTIES, "Get", signature="ss", body=[interface, name]
        )
        return (await self._ask(message))[0].value

    async def pixel(self, size: int, x: float, y: float) -> tuple[int, int, int, int]:
        """Return red, green, blue, alpha of one place (in parts of the size) of the picture of that size."""
        pictures = {wide: data for wide, _, data in await self.get("IconPixmap")}
        at = (int(y * size) * size + int(x * size)) * 4
        alpha, red, green, blue = pictures[size][at : at + 4]
        return red, green, blue, alpha

    async def tooltip(self) -> tuple[str, str]:
        """Return title and text of the tooltip."""
        _, _, title, text = await self.get("ToolTip")
        return title, text

    async def left_click(self) -> None:
        """Click on the icon."""
        await self._ask(Message(self.name, self._path, ITEM, "Activate", signature="ii", body=[5, 5]))

    async def middle_click(self) -> None:
        """Click on the icon with the wheel."""
        await self._ask(
            Message(self.name, self._path, ITEM, "SecondaryActivate", signature="ii", body=[5, 5])
        )

    async def menu(self) -> MenuLine:
        """Read the whole menu."""
        _, layout = await self.ask_menu("GetLayout", "iias", 0, -1, [])
        return _line(layout)

    async def press(self, *labels: str) -> None:
        """Open the menu and click the line to which these beginnings of labels lead."""
        await self.ask_menu("AboutToShow", "i", 0)
        line = (await self.menu()).find(*labels)
        assert line.enabled, f"{line.label} can't be clicked"
        await self.ask_menu("Event", "isvu", line.number, "clicked", Variant("s", ""), 0)

    async def ask_menu(self, member: str, signature: str, *arguments: object) -> list[Any]:
        """Call a method of the menu."""
        path = await self.get("Menu")
        return await self._ask(
            Message(self.name, path, MENU, member, signature=signature, body=list(arguments))
        )

    async def _ask(self, message: Message) -> list[Any]:
        async with asyncio.timeout(WAIT_S):
            reply = await self._bus.call(message)
        assert reply.message_type is MessageType.METHOD_RETURN, (
            f"{message.member}: {reply.error_name} {reply.body}"
        )
        return reply.body


class Panel:
    """Plays StatusNotifierWatcher and host on the bus at `address`."""

    def __init__(self, address: str, refusals: int = 0) -> None:
        self._address = address
        self.refusals = refusals
        """So often it turns an icon away, as one does that is not ready yet."""
        self._bus: MessageBus | None = None
        self._icons: list[Icon] = []
        self._came = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._bus = bus = await MessageBus(self._address).connect()
        bus.add_message_handler(self._heard)
        rule = "type='signal',sender='org.freedesktop.DBus',member='NameOwnerChanged'"
        for match in (f"type='signal',interface='{ITEM}'", f"type='signal',interface='{MENU}'", rule):
            driver = "org.freedesktop.DBus"
            await bus.call(
                Message(
                    driver, "/" + driver.replace(".", "/"), driver, "AddMatch", signature="s", body=[match]
                )
            )
        bus.export("/StatusNotifierWatcher", _Watcher())
        await bus.request_name(WATCHER)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Go, as a panel does that crashes."""
        if self._bus is not None:
            bus, self._bus = self._bus, None
            bus.disconnect()
            with contextlib.suppress(EOFError):  # the bus may have gone first
                await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]  # as dbus-fast has it

    @property
    def icons(self) -> list[Icon]:
        """The icons that are shown now."""
        return self._icons

    async def icon(self) -> Icon:
        """Wait for an icon, and return the first."""
        await self.until(lambda: bool(self._icons))
        return self._icons[0]

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait until an icon's coming or going makes something so."""
        async with asyncio.timeout(WAIT_S):
            while not is_so():
                self._came.clear()
                await self._came.wait()

    def _heard(self, message: Message) -> Message | None:
        if message.message_type is MessageType.METHOD_CALL and message.member == "RegisterStatusNotifierItem":
            if self.refusals:
                self.refusals -= 1
                return Message.new_error(message, "org.freedesktop.DBus.Error.UnknownObject", "not yet")
            self._register(message.body[0], message.sender or "")
            return Message.new_method_return(message)
        if message.message_type is not MessageType.SIGNAL:
            return None
        if message.member == "NameOwnerChanged" and not message.body[2]:
            self._icons = [icon for icon in self._icons if icon.name != message.body[0]]
            self._came.set()
        elif message.interface in {ITEM, MENU}:
            for icon in self._icons:
                icon.heard(message.member or "")
        return None

    def _register(self, service: str, sender: str) -> None:
        """Take an icon in: KDE's kind says its bus name, Ubuntu's the path of the object."""
        assert self._bus is not None
        name, path = (sender, service) if service.startswith("/") else (service, "/StatusNotifierItem")
        self._icons.append(Icon(self._bus, name, path))
        self._came.set()


class _Watcher(ServiceInterface):
    def __init__(self) -> None:
        super().__init__(WATCHER)

    @dbus_method(name="RegisterStatusNotifierHost")
    def register_host(self, _service: DBusStr) -> None: ...

    @dbus_property(access=PropertyAccess.READ, name="IsStatusNotifierHostRegistered")
    def is_host_registered(self) -> DBusBool:
        return True

    @dbus_property(access=PropertyAccess.READ, name="ProtocolVersion")
    def protocol_version(self) -> DBusInt32:
        return 0

    @dbus_property(access=PropertyAccess.READ, name="RegisteredStatusNotifierItems")
    def registered_items(self) -> Annotated[list[str], DBusSignature("as")]:
        return []


def _line(layout: list[Any]) -> MenuLine:
    number, values, children = layout
    properties = {name: variant.value for name, variant in values.items()}
    return MenuLine(
        number=number,
        label=properties.get("label", "").replace("__", "_"),
        enabled=properties.get("enabled", True),
        checked=bool(properties["toggle-state"]) if properties.get("toggle-type") else None,
        is_separator=properties.get("type") == "separator",
        lines=tuple(_line(child.value) for child in children),
    )
