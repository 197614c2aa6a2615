"""A screen without glass: Xvfb on a display of its own, looked at and clicked at as a window manager would."""

import os
import subprocess
from contextlib import suppress
from types import TracebackType
from typing import Self

from PIL import Image, ImageGrab
from Xlib import X, display, error, protocol

from process_fixture import wait_until

WIDTH, HEIGHT = 1200, 800


class Screen:
    """Runs Xvfb; `name` is for DISPLAY."""

    def __init__(self) -> None:
        reads, writes = os.pipe()
        self._server = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writes), "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-nolisten", "tcp"],
            pass_fds=[writes],
            stderr=subprocess.DEVNULL,
        )
        os.close(writes)
        with os.fdopen(reads) as output:
            self.name = f":{output.readline().strip()}"
        self._display = display.Display(self.name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._display.close()
        self._server.terminate()
        self._server.wait()

    def picture(self) -> Image.Image:
        return ImageGrab.grab(xdisplay=self.name)

    def colours(self) -> int:
        """How many colours are on the screen; one or two when nothing is painted."""
        return len(self.picture().getcolors(1 << 20) or ())

    def windows(self, title: str) -> list[object]:
        """The windows of this title that can be seen."""
        found = []
        for window in self._display.screen().root.query_tree().children:
            with suppress(error.XError):  # it went between the question and the answer
                if window.get_wm_name() == title and window.get_attributes().map_state == X.IsViewable:
                    found.append(window)
        return found

    def window(self, title: str):  # type: ignore[no-untyped-def]  # noqa: ANN201 - Xlib has no types
        wait_until(lambda: len(self.windows(title)) == 1)
        return self.windows(title)[0]

    def place(self, title: str) -> tuple[int, int, int, int]:
        """Left, top, width, height of a window."""
        where = self.window(title).get_geometry()
        return where.x, where.y, where.width, where.height

    def move(self, title: str, x: int, y: int, width: int, height: int) -> None:
        self.window(title).configure(x=x, y=y, width=width, height=height)
        self._display.sync()

    def close(self, title: str) -> None:
        """Press the cross of the window's frame."""
        window = self.window(title)
        atom = self._display.intern_atom
        event = protocol.event.ClientMessage(
            window=window,
            client_type=atom("WM_PROTOCOLS"),
            data=(32, [atom("WM_DELETE_WINDOW"), X.CurrentTime, 0, 0, 0]),
        )
        window.send_event(event)
        self._display.sync()

    def minimise(self, title: str) -> object:
        """Make an icon of the window, as a window manager does; returns what `restore` takes."""
        window = self.window(title)
        window.unmap()
        self._display.sync()
        return window

    def restore(self, window) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001 - Xlib has no types
        window.map()
        self._display.sync()
