"""Puts a notification on the screen: by the desktop's own service, or by the program that is there for it."""

import asyncio
import html
import logging
import shutil
import subprocess
import sys
from typing import Final

from meshlight.desktop.notify import Note

NAME: Final = "Meshlight"
LIMIT_S: Final = 5.0
CLICK_S: Final = 60
"""For so long a note that can be clicked stays, and its click is waited for."""
_OSASCRIPT: Final = (
    "on run argv",
    "display notification (item 2 of argv) with title (item 1 of argv)",
    "end run",
)


def send(note: Note) -> bool:
    """Show the note; whether somebody took it.

    May take seconds, and a minute for a note that can be clicked: not for a thread that others wait for.
    """
    try:
        asyncio.run(_by_library(note))
    except Exception:  # noqa: BLE001 - no bus, no daemon, no permission: each platform has its own errors for that
        return _by_program(note)
    return True


async def _by_library(note: Note) -> None:
    # Imported at the first notification: most days have none, and the tray should stay small.
    from desktop_notifier import DesktopNotifier  # noqa: PLC0415

    logging.getLogger("desktop_notifier").setLevel(
        logging.CRITICAL
    )  # what fails here is told by the other way
    clicked, over = asyncio.Event(), asyncio.Event()
    async with asyncio.timeout(LIMIT_S):
        notifier = DesktopNotifier(app_name=NAME, app_icon=None)
        await notifier.get_capabilities()  # this raises where nobody would take a note, and `send` doesn't
        # On Linux the body is a kind of HTML, and names come from strangers.
        body = html.escape(note.body, quote=False) if sys.platform == "linux" else note.body
        await notifier.send(
            title=note.title,
            message=body,
            on_clicked=clicked.set if note.on_click else None,
            on_dismissed=over.set if note.on_click else None,
            timeout=CLICK_S if note.on_click else -1,
        )
    if note.on_click and await _click(clicked, over):
        note.on_click()


async def _click(clicked: asyncio.Event, over: asyncio.Event) -> bool:
    """Wait until the note is clicked or gone; whether it was clicked."""
    waits = [asyncio.ensure_future(event.wait()) for event in (clicked, over)]
    await asyncio.wait(waits, timeout=CLICK_S, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    return clicked.is_set()


def _by_program(note: Note) -> bool:
    command = _command(note)
    if command is None:
        return False
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program, no shell; the texts are single words of it
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=LIMIT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


def _command(note: Note, platform: str = sys.platform) -> list[str] | None:
    if platform == "darwin":
        script = [word for line in _OSASCRIPT for word in ("-e", line)]
        return ["osascript", *script, note.title, note.body]
    if platform == "linux" and (program := shutil.which("notify-send")):
        return [program, f"--app-name={NAME}", "--", note.title, html.escape(note.body, quote=False)]
    return None
