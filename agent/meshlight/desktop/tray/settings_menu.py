"""The lines of the tray's menu about settings, and about a browser that asks to be let in. Pure functions."""

from typing import Final

from meshlight.desktop.tray.menu_items import Action, Item, line, separator
from meshlight.desktop.tray.notifications import Notification
from meshlight.desktop.tray.state import TrayState
from meshlight.desktop.window.launcher import SETTINGS_NODE
from meshlight.domain.api_types import PendingSignIn
from meshlight.domain.text import sanitize

OPEN_SETTINGS: Final = Action("open", SETTINGS_NODE)
CHOOSE_STORAGE: Final = Action("open", f"{SETTINGS_NODE}storage")
OPEN_UPDATES: Final = Action("open", f"{SETTINGS_NODE}updates")


def sign_in_lines(pending: PendingSignIn) -> list[Item]:
    """Return the two answers to a browser that asks to be let in; nothing if none does."""
    if not pending.code:
        return []
    return [
        line("let-in", f"Let the browser in (code {pending.code})…", Action("let-in", pending.code)),
        line("turn-away", "Don't let it in", Action("turn-away", pending.code)),
        separator(0),
    ]


def settings_lines(state: TrayState) -> list[Item]:
    """Return what the user should look at: where keys are kept, and a newer version."""
    lines = []
    if state.asks_key_storage:
        lines.append(line("key-storage", "! Choose where keys are kept…", CHOOSE_STORAGE))
    if state.update:
        lines.append(line("update", f"Version {sanitize(state.update)} is out", OPEN_UPDATES))
    return lines


def sign_in_notification(pending: PendingSignIn) -> Notification:
    """Return the notification of a browser that asks to be let in; a click on it allows that."""
    return Notification(
        "Let the browser in?",
        f"It shows the code {pending.code}. Click only if you have just asked for this in a browser.",
    )


def storage_notification() -> Notification:
    """Return the notification that keys can't be kept yet; a click on it opens the choice."""
    return Notification(
        "Keep keys in a file only you can read?",
        "This machine has no keyring. Click to choose where keys of clouds and servers are kept.",
    )
