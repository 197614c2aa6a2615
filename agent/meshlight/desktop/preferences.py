"""The tray's own settings, which no other part of Meshlight needs to know."""

from msgspec import Struct


class Preferences(Struct, frozen=True, kw_only=True):
    """What the tray remembers from one start to the next; kept in a `SmallFile`."""

    notifications: bool = True
    was_started: bool = False
    """Whether there was a first start, which opens the window by itself: some desktops hide trays."""
