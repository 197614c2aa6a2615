"""Links that are clicked while the app for macOS runs: they come as Apple events, and start nothing anew."""

from collections.abc import Callable
from typing import Any, Final

SCHEME: Final = "meshlight:"
GET_URL: Final = int.from_bytes(b"GURL", "big")
"""The class and the id of the event (kInternetEventClass, kAEGetURL)."""
DIRECT_OBJECT: Final = int.from_bytes(b"----", "big")
"""The part of the event that holds the link (keyDirectObject)."""
SELECTOR: Final = "handleEvent:withReplyEvent:"


def receive_links(on_link: Callable[[str], None]) -> object:
    """Call `on_link` on the main thread, once its loop runs, with each link that is clicked from then on.

    AppKit sets a handler of its own when the loop begins, so ours is set in the loop. Returns the receiver, which
    the caller has to hold: the system does not.
    """
    import Foundation  # noqa: PLC0415 -- exists on macOS alone
    from PyObjCTools import AppHelper  # noqa: PLC0415

    class LinkReceiver(Foundation.NSObject):  # type: ignore[misc]  # PyObjC has no types
        """Gets the events; PyObjC makes the selector of the method's name."""

        def handleEvent_withReplyEvent_(self, event: Any, _reply: Any) -> None:  # noqa: N802 - SELECTOR
            part = event.paramDescriptorForKeyword_(DIRECT_OBJECT)
            link = str(part.stringValue() or "") if part is not None else ""
            if link.startswith(SCHEME):
                on_link(link)

    receiver = LinkReceiver.alloc().init()

    def register() -> None:
        manager = Foundation.NSAppleEventManager.sharedAppleEventManager()
        manager.setEventHandler_andSelector_forEventClass_andEventID_(receiver, SELECTOR, GET_URL, GET_URL)

    AppHelper.callAfter(register)
    return receiver
