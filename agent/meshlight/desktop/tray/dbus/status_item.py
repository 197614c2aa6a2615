"""The icon on the session bus by the protocol org.kde.StatusNotifierItem (KDE, GNOME's extension, Xfce, sway)."""

from functools import lru_cache
from typing import Annotated, Any, Final

from dbus_fast import PropertyAccess
from dbus_fast.annotations import DBusBool, DBusInt32, DBusObjectPath, DBusSignature, DBusStr
from dbus_fast.service import ServiceInterface, dbus_method, dbus_property, dbus_signal

from meshlight.desktop.tray.dbus import menu as dbus_menu
from meshlight.desktop.tray.icon import SIZES, argb, icon
from meshlight.desktop.tray.interface import TITLE, OnAction
from meshlight.desktop.tray.menu_items import OPEN, Action
from meshlight.domain.snapshot import Light

PATH: Final = "/StatusNotifierItem"
_READ: Final = PropertyAccess.READ
_MARKUP: Final = str.maketrans({"<": "\u2039", ">": "\u203a", "&": "+"})
"""Some desktops read a tooltip as HTML and some don't: without these characters both show the same."""

Pixmaps = Annotated[list[list[Any]], DBusSignature("a(iiay)")]
"""Images as (width, height, ARGB32 in network byte order)."""


class StatusItem(ServiceInterface):
    """Serves one icon; clicks on it go to `on_action`."""

    def __init__(self, on_action: OnAction) -> None:
        super().__init__("org.kde.StatusNotifierItem")
        self._on_action = on_action
        self._light: Light = "grey"
        self._tooltip = ""

    def show(self, light: Light, tooltip_text: str) -> None:
        """Show a colour and a tooltip, and notify the desktop of what changed."""
        old_light, old_tooltip = self._light, self._tooltip
        old_status = self._status
        self._light, self._tooltip = light, tooltip_text
        if light != old_light:
            self._new_icon()
            self._new_attention_icon()
        if tooltip_text != old_tooltip:
            self._new_tooltip()
        if self._status != old_status:
            self._new_status()

    @property
    def _status(self) -> str:
        """Return how important the icon is: KDE shows a hidden one that needs attention."""
        return "NeedsAttention" if self._light == "red" else "Active"

    @dbus_method(name="Activate")
    def activate(self, _x: DBusInt32, _y: DBusInt32) -> None:
        """Handle a left click: open the window."""
        self._on_action(OPEN)

    @dbus_method(name="SecondaryActivate")
    def secondary_activate(self, _x: DBusInt32, _y: DBusInt32) -> None:
        """Handle a middle click: refresh."""
        self._on_action(Action("refresh"))

    @dbus_method(name="ContextMenu")
    def context_menu(self, _x: DBusInt32, _y: DBusInt32) -> None:
        """Handle a right click on a desktop that doesn't draw the menu itself: open the window."""
        self._on_action(OPEN)

    @dbus_method(name="Scroll")
    def scroll(self, _delta: DBusInt32, _orientation: DBusStr) -> None:
        """Ignore the mouse wheel."""

    @dbus_property(access=_READ, name="Category")
    def category(self) -> DBusStr:
        """Return the category of the icon."""
        return "ApplicationStatus"

    @dbus_property(access=_READ, name="Id")
    def id(self) -> DBusStr:
        """Return the id by which desktops remember the position of the icon."""
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
        """Return no name: the icon is sent as pixels, not taken from a theme."""
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
        """Return the same icon, as it already shows that it needs attention."""
        return _pixmaps(self._light)

    @dbus_property(access=_READ, name="AttentionMovieName")
    def attention_movie_name(self) -> DBusStr:
        """Return no animation."""
        return ""

    @dbus_property(access=_READ, name="ToolTip")
    def tooltip(self) -> Annotated[list[Any], DBusSignature("(sa(iiay)ss)")]:
        """Return the tooltip: no image of its own, the title, the state."""
        return ["", [], TITLE, self._tooltip.translate(_MARKUP)]

    @dbus_property(access=_READ, name="ItemIsMenu")
    def item_is_menu(self) -> DBusBool:
        """Return False: a left click does something else than open the menu."""
        return False

    @dbus_property(access=_READ, name="Menu")
    def menu(self) -> DBusObjectPath:
        """Return the object path of the menu."""
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
