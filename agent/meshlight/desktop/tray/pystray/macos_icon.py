"""Fixes pystray's icon for the macOS menu bar: sharp on Retina, no Dock icon, changed on the main thread only."""

import io
from collections.abc import Callable
from typing import Any, Final

PIXELS: Final = 44
"""The menu bar is 22 points high, and a Retina display has two pixels per point."""
_ACCESSORY: Final = 1
"""NSApplicationActivationPolicyAccessory: a program that appears in the menu bar only."""


def patch_mac_icon(icon_class: type[Any]) -> type[Any]:
    """Return pystray's icon class with an image of full resolution (pystray scales it down to points)."""
    import AppKit  # noqa: PLC0415 -- exists on macOS alone
    import Foundation  # noqa: PLC0415

    AppKit.NSApplication.sharedApplication().setActivationPolicy_(_ACCESSORY)

    class Icon(icon_class):  # type: ignore[misc]  # pystray has no types
        """An icon of PIXELS, shown at the height of the menu bar."""

        def _assert_image(self) -> None:
            file = io.BytesIO()
            self._icon.save(file, "png")
            image = AppKit.NSImage.alloc().initWithData_(Foundation.NSData(file.getvalue()))
            side = self._status_bar.thickness()
            image.setSize_((side, side))
            self._icon_image = image
            self._status_item.button().setImage_(image)

    return Icon


def on_main_thread(task: Callable[[], None]) -> None:
    """Run the task on the main thread: AppKit may crash when another thread changes the screen."""
    from PyObjCTools import AppHelper  # noqa: PLC0415 -- exists on macOS alone

    AppHelper.callAfter(task)
