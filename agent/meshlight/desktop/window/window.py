"""The window: the service's own page in the system's web view, in a process of its own."""

import logging
import os
import sys
import threading
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote, urldefrag

from msgspec import Struct
from msgspec.structs import replace

from meshlight.api_client.client import ApiClient, read_runtime
from meshlight.desktop.system.instance_signal import ActivationListener
from meshlight.desktop.system.json_file import JsonFile
from meshlight.desktop.system.opener import open_link
from meshlight.desktop.window.launcher import INSTANCE_SOCKET, PEERS
from meshlight.desktop.window.system_gtk import use_system_gtk
from meshlight.domain.errors import NoWindow, ServiceError

if TYPE_CHECKING:
    import webview

TITLE: Final = "Meshlight"
LEAST: Final = (480, 360)
LOOK_S: Final = 1.0
"""Between two looks for a new start of the service, whose page wants a new code."""
ADD: Final = "add?"
"""Begins what fills in the page's dialog for a new backend; no backend's id has such a letter."""
PAIR: Final = "pair?"
"""Begins what fills in its dialog for another Meshlight."""
DARK: Final = "#0e1217"
"""Before the first paint; near the page's own dark ground."""
REST: Final = "window.dispatchEvent(new Event('meshlight-rest'))"
WAKE: Final = "window.dispatchEvent(new Event('meshlight-wake'))"


class WindowGeometry(Struct, frozen=True, kw_only=True):
    """Where the window was when it was closed last, and how large (in the desktop's own pixels)."""

    width: int = 1280
    height: int = 820
    x: int | None = None
    y: int | None = None
    is_maximized: bool = False


class Screen(Protocol):
    """One screen of the desktop."""

    @property
    def x(self) -> int:
        """Its left edge."""
        ...

    @property
    def y(self) -> int:
        """Its upper edge."""
        ...

    @property
    def width(self) -> int:
        """How wide it is."""
        ...

    @property
    def height(self) -> int:
        """How high it is."""
        ...


def fitted(place: WindowGeometry, screens: Sequence[Screen]) -> WindowGeometry:
    """Return a place that can be seen: on a screen that is there, and no larger than that."""
    if not screens:
        return replace(place, x=None, y=None)
    x, y = place.x, place.y
    for screen in screens:
        if x is None or y is None:
            break
        # Enough of its upper edge to be taken hold of.
        if (
            screen.x - 50 <= x < screen.x + screen.width - 50
            and screen.y <= y < screen.y + screen.height - 50
        ):
            return replace(place, **_limited(place, screen))
    return replace(place, x=None, y=None, **_limited(place, screens[0]))


def prepare(environ: MutableMapping[str, str] = os.environ, dri: Path = Path("/dev/dri")) -> None:
    """Set what WebKit reads before it is loaded: without a GPU its DMA-BUF renderer draws four times as slowly."""
    has_gpu = any(dri.glob("renderD*")) and not Path("/proc/driver/nvidia").exists()
    if sys.platform == "linux" and not has_gpu:
        environ.setdefault("WEBKIT_DISABLE_DMABUF_RENDERER", "1")


def with_node(link: str, node: str) -> str:
    """Return the link with a backend chosen on the page, or with what it is to open (`add?…`, `pair?…`, `peers?`)."""
    fragment = fragment_for(node)
    return f"{link}#{fragment}" if fragment else link


def fragment_for(node: str) -> str:
    """Return what in the page's address chooses a backend, or what is to open."""
    if node.startswith((ADD, PAIR)):
        return node
    if node == PEERS:
        return "peers"
    return f"sel={quote(f'b:{node}', safe='')}" if node else ""


class MeshWindow:
    """One window from its opening to its end; `run` must be called on the main thread."""

    def __init__(self, runtime_file: Path, state_dir: Path, places: JsonFile[WindowGeometry]) -> None:
        self._runtime_file = runtime_file
        self._state_dir = state_dir
        self._places = places
        self._place = places.read()
        self._instance = ""
        self._origin = ""
        self._is_minimised = False
        self._lock = threading.Lock()
        """Guards the place: pywebview calls each handler in a thread of its own."""
        self._over = threading.Event()
        self._window: webview.Window | None = None

    def run(self, node: str = "") -> None:
        """Show the page until the window is closed.

        Raises ServiceError when the service isn't running, NoWindow when this machine can show no window.
        """
        url = with_node(self._link(), node)
        prepare()
        use_system_gtk()
        try:
            import webview  # noqa: PLC0415 - large, and it may not be there

            logging.getLogger("pywebview").setLevel(logging.CRITICAL)
            place = self._place = fitted(self._place, webview.screens)
        except Exception as error:  # each system and each missing library has an error of its own for this
            raise NoWindow(
                "No web view to show a window with was found on this machine.",
                "On Debian and Ubuntu: sudo apt install gir1.2-webkit2-4.1 python3-gi",
            ) from error
        webview.settings["ALLOW_FILE_URLS"] = False
        self._window = webview.create_window(
            TITLE,
            url,
            width=place.width,
            height=place.height,
            x=place.x,
            y=place.y,
            maximized=place.is_maximized,
            min_size=LEAST,
            background_color=DARK,
            text_select=True,
        )
        if self._window is None:
            raise NoWindow("The window could not be made.")
        self._join(self._window)
        with ActivationListener(self._state_dir, INSTANCE_SOCKET, self._rung):
            threading.Thread(target=self._attend, name="service", daemon=True).start()
            try:
                webview.start(private_mode=True)
            finally:
                self._over.set()
                self._places.write(self._place)

    def close(self) -> None:
        """Close the window, from any thread."""
        if self._window is not None:
            self._window.destroy()

    def _join(self, window: "webview.Window") -> None:
        events = window.events
        events.resized += self._on_resized
        events.moved += self._on_moved
        events.maximized += self._on_maximized
        events.minimized += self._on_minimized
        events.restored += self._on_restored
        events.loaded += self._on_loaded

    def _link(self) -> str:
        """Return a fresh link from the service that runs now, and remember which that is."""
        with ApiClient.connect(self._runtime_file) as service:
            link = service.one_time_link()
            self._instance = service.runtime.instance
            self._origin = service.runtime.url
            return link

    def _rung(self, node: str) -> None:
        """Come to the front, because the window was asked for once more."""
        window = self._window
        if window is None:
            return
        window.restore()
        window.show()
        if node:
            self._load(node)

    def _load(self, node: str = "") -> None:
        if self._window is not None:
            try:
                self._window.load_url(with_node(self._link(), node))
            except ServiceError:
                return  # the page itself says that the service is away

    def _attend(self) -> None:
        """Wait for new starts of the service: each has forgotten our session, and may be at another port."""
        while not self._over.wait(LOOK_S):
            try:
                if read_runtime(self._runtime_file).instance == self._instance or self._window is None:
                    continue
                page = self._window.get_current_url() or ""
                link = self._link()
            except ServiceError:
                continue
            fragment = urldefrag(page).fragment
            self._window.load_url(f"{link}#{fragment}" if fragment else link)

    def _on_loaded(self) -> None:
        """Show no other page than ours: one that was led to belongs in the browser."""
        window = self._window
        url = window.get_current_url() if window is not None else None
        if url and url.startswith(("http://", "https://")) and not url.startswith(f"{self._origin}/"):
            open_link(url)
            self._load()

    def _on_resized(self, width: int, height: int) -> None:
        with self._lock:
            if not self._place.is_maximized and not self._is_minimised:
                self._place = replace(self._place, width=int(width), height=int(height))

    def _on_moved(self, x: int, y: int) -> None:
        with self._lock:
            if not self._place.is_maximized and not self._is_minimised:
                self._place = replace(self._place, x=int(x), y=int(y))

    def _on_maximized(self) -> None:
        with self._lock:
            self._place = replace(self._place, is_maximized=True)

    def _on_minimized(self) -> None:
        self._is_minimised = True
        self._tell_page(REST)

    def _on_restored(self) -> None:
        if self._is_minimised:
            self._is_minimised = False
            self._tell_page(WAKE)
        else:
            with self._lock:
                self._place = replace(self._place, is_maximized=False)

    def _tell_page(self, script: str) -> None:
        if self._window is not None:
            self._window.run_js(script)


def _limited(place: WindowGeometry, screen: Screen) -> dict[str, int]:
    return {
        "width": max(min(place.width, screen.width), LEAST[0]),
        "height": max(min(place.height, screen.height), LEAST[1]),
    }
