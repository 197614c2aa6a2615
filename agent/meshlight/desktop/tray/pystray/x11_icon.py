"""pystray's icon for X11's old system tray, mended: it hears clicks, docks once, and has clean edges."""

from typing import Any, Final

from PIL import Image

BAR: Final = "#20242b"
"""An X11 tray window is not transparent: this is what lies behind the sign."""


def patch_x11_icon(icon_class: type[Any]) -> type[Any]:
    """Return pystray's icon class without its three faults."""
    from Xlib import X  # noqa: PLC0415 -- exists beside pystray on Linux alone

    class Icon(icon_class):  # type: ignore[misc]  # pystray has no types
        """An icon of X11's system tray: a picture and a left click, no menu."""

        _icon_data: Any

        def _create_window(self) -> Any:
            window = super()._create_window()
            heard = X.ExposureMask | X.StructureNotifyMask | X.ButtonPressMask  # pystray leaves out the last
            window.change_attributes(event_mask=heard)
            return window

        def _assert_docked(self) -> None:
            if (
                self._systray_manager is None
            ):  # pystray asks anew with every picture, and some trays then lose it
                super()._assert_docked()

        def _assert_icon_data(self, width: int, height: int) -> None:
            if not self._icon_data or self._icon_data.size != (width, height):
                bar: Any = flat(self._icon, width, height)
                bar.tostring = bar.tobytes  # by which name Xlib asks for it
                self._icon_data = bar

    return Icon


def flat(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Return a picture in the middle of a bar of this size, neither stretched nor see-through.

    It is laid on the bar before it is scaled, as half-transparent edges can't be scaled by their colours alone.
    """
    opaque = Image.new("RGB", picture.size, BAR)
    opaque.paste(picture, mask=picture.getchannel("A"))
    side = max(min(width, height), 1)
    bar = Image.new("RGB", (width, height), BAR)
    bar.paste(
        opaque.resize((side, side), Image.Resampling.LANCZOS), ((width - side) // 2, (height - side) // 2)
    )
    return bar
