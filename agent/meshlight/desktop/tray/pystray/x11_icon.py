"""Fixes pystray's icon for X11's old system tray: it receives clicks, docks once, and has clean edges."""

from typing import Any, Final

from PIL import Image

BACKGROUND: Final = "#20242b"
"""An X11 tray window is not transparent: this colour is behind the icon."""


def patch_x11_icon(icon_class: type[Any]) -> type[Any]:
    """Return pystray's icon class without its three faults."""
    from Xlib import X  # noqa: PLC0415 -- exists beside pystray on Linux alone

    class Icon(icon_class):  # type: ignore[misc]  # pystray has no types
        """An icon in X11's system tray: an image and a left click, no menu."""

        _icon_data: Any

        def _create_window(self) -> Any:
            window = super()._create_window()
            event_mask = (
                X.ExposureMask | X.StructureNotifyMask | X.ButtonPressMask
            )  # pystray leaves out the last
            window.change_attributes(event_mask=event_mask)
            return window

        def _assert_docked(self) -> None:
            if (
                self._systray_manager is None
            ):  # pystray docks again with every image, and some trays then lose the icon
                super()._assert_docked()

        def _assert_icon_data(self, width: int, height: int) -> None:
            if not self._icon_data or self._icon_data.size != (width, height):
                bar: Any = flatten(self._icon, width, height)
                bar.tostring = bar.tobytes  # the name that Xlib calls
                self._icon_data = bar

    return Icon


def flatten(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Return the picture centred on an opaque background of this size, without stretching it.

    It is put on the background before it is scaled, as half-transparent edges would get wrong colours otherwise.
    """
    opaque = Image.new("RGB", picture.size, BACKGROUND)
    opaque.paste(picture, mask=picture.getchannel("A"))
    side = max(min(width, height), 1)
    bar = Image.new("RGB", (width, height), BACKGROUND)
    bar.paste(
        opaque.resize((side, side), Image.Resampling.LANCZOS), ((width - side) // 2, (height - side) // 2)
    )
    return bar
