"""The icon on the session bus: org.kde.StatusNotifierItem, which KDE, GNOME's extension, Xfce and sway show."""

from functools import lru_cache
from typing import Annotated, Any, Final

from dbus_fast import PropertyAccess
from dbus_fast.annotations import DBusBool, DBusInt32, DBusObjectPath, DBusSignature, DBusStr
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal

from meshlight.desktop.tray.dbus import menu as dbus_menu
from meshlight.desktop.tray.icon import SIZES, argb, icon
from meshlight.desktop.tray.menu_items import OPEN, Action
from meshlight.desktop.tray.tray_icon import TITLE, OnAction
from meshlight.domain.snapshot import Light

PATH: Final = "/StatusNotifierItem"
_READ: Final = PropertyAccess.READ
_MARKUP: Final = str.maketrans({"<": "\u2039", ">": "\u203a", "&": "+"})
"""Some desktops read a tooltip as HTML and some don't: with these letters gone, both show the same."""

Pixmaps = Annotated[list[list[Any]], DBusSignature("a(iiay)")]
"""Pictures as (width, height, ARGB32 in network byte order)."""


class StatusItem(ServiceInterface):
    """Shows one icon; clicks on it are told to `on_action`."""

    def __init__(self, on_action: OnAction) -> None:
        super().__init__("org.kde.StatusNotifierItem")
        self._on_action = on_action
        self._light: Light = "grey"
        self._said = ""

    def show(self, light: Light, said: str) -> None:
        """Show a state and a tooltip; the desktop is told of what changed."""
        had, spoke = self._light, self._said
        old_status = self._status
        self._light, self._said = light, said
        if light != had:
            self._new_icon()
            self._new_attention_icon()
        if said != spoke:
            self._new_tooltip()
        if self._status != old_status:
            self._new_status()

    @property
    def _status(self) -> str:
        """Return how much the icon matters: KDE takes one that needs attention out of the hidden ones."""
        return "NeedsAttention" if self._light == "red" else "Active"

    @dbus_method(name="Activate")
    def activate(self, _x: DBusInt32, _y: DBusInt32) -> None:
        """Answer a left click."""
        self._on_action(OPEN)

    @dbus_method(name="SecondaryActivate")
    def secondary_activate(self, _x: DBusInt32, _y: DBusInt32) -> None:
        """Answer a middle click: the quick refresh."""
        self._on_action(Action("refresh"))

    @dbus_method(name="ContextMenu")
    def context_menu(self, _x: DBusInt32, _y: DBusInt32) -> None:
        """Answer a right click on a desktop that doesn't draw the menu itself: the window has all of it."""
        self._on_action(OPEN)

    @dbus_method(name="Scroll")
    def scroll(self, _delta: DBusInt32, _orientation: DBusStr) -> None:
        """Let the wheel turn: there is nothing to scroll."""

    @dbus_property(access=_READ, name="Category")
    def category(self) -> DBusStr:
        """Return what sort of item this is."""
        return "ApplicationStatus"

    @dbus_property(access=_READ, name="Id")
    def id(self) -> DBusStr:
        """Return the name by which desktops remember where the icon goes."""
        return "meshlight"

    @dbus_property(access=_READ, name="Title")
    def title(self) -> DBusStr:
        """Return the name that people see."""
        return TITLE

    @dbus_property(access=_READ, name="Status")
    def status(self) -> DBusStr:
        """Return `Active` or `NeedsAttention`."""
        return self._status

    @dbus_property(access=_READ, name="WindowId")
    def window_id(self) -> DBusInt32:
        """Return 0: the window is another process."""
        return 0

    @dbus_property(access=_READ, name="IconName")
    def icon_name(self) -> DBusStr:
        """Return no name: the picture comes as pixels, whatever the theme."""
        return ""

    @dbus_property(access=_READ, name="IconThemePath")
    def icon_theme_path(self) -> DBusStr:
        """Return no folder."""
        return ""

    @dbus_property(access=_READ, name="IconPixmap")
    def icon_pixmap(self) -> Pixmaps:
        """Return the icon in every size."""
        return _pixmaps(self._light)

    @dbus_property(access=_READ, name="OverlayIconName")
    def overlay_icon_name(self) -> DBusStr:
        """Return no overlay."""
        return ""

    @dbus_property(access=_READ, name="OverlayIconPixmap")
    def overlay_icon_pixmap(self) -> Pixmaps:
        """Return no overlay."""
        return []

    @dbus_property(access=_READ, name="AttentionIconName")
    def attention_icon_name(self) -> DBusStr:
        """Return no name, as for the icon."""
        return ""

    @dbus_property(access=_READ, name="AttentionIconPixmap")
    def attention_icon_pixmap(self) -> Pixmaps:
        """Return the same icon: it says itself that it needs attention."""
        return _pixmaps(self._light)

    @dbus_property(access=_READ, name="AttentionMovieName")
    def attention_movie_name(self) -> DBusStr:
        """Return no film."""
        return ""

    @dbus_property(access=_READ, name="ToolTip")
    def tooltip(self) -> Annotated[list[Any], DBusSignature("(sa(iiay)ss)")]:
        """Return the tooltip: no picture of its own, the name, the state."""
        return ["", [], TITLE, self._said.translate(_MARKUP)]

    @dbus_property(access=_READ, name="ItemIsMenu")
    def item_is_menu(self) -> DBusBool:
        """Say that a left click does something else than open the menu."""
        return False

    @dbus_property(access=_READ, name="Menu")
    def menu(self) -> DBusObjectPath:
        """Return where the menu is."""
        return dbus_menu.PATH

    @dbus_signal(name="NewIcon")
    def _new_icon(self) -> None: ...

    @dbus_signal(name="NewAttentionIcon")
    def _new_attention_icon(self) -> None: ...

    @dbus_signal(name="NewToolTip")
    def _new_tooltip(self) -> None: ...

    @dbus_signal(name="NewStatus")
    def _new_status(self) -> DBusStr:
        return self._status


@lru_cache(maxsize=4)
def _pixmaps(light: Light) -> list[list[Any]]:
    return [[size, size, argb(icon(light, size))] for size in SIZES]
