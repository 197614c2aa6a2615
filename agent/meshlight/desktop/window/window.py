"""The mesh window: the service's page in the system's web view, in a separate process.

The page is opened by a one-time link. When the service starts again, the window loads a fresh link; a page that
leads elsewhere opens in the browser instead. Size and position are saved on exit.
"""

import logging
import os
import sys
import threading
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import quote, urldefrag

from msgspec import Struct
from msgspec.structs import replace

from meshlight.api_client.client import ApiClient, read_runtime
from meshlight.desktop.system.autostart import NAME
from meshlight.desktop.system.instance_signal import QUIT, ActivationListener
from meshlight.desktop.system.json_file import JsonFile
from meshlight.desktop.system.opener import open_link
from meshlight.desktop.window.launcher import APPS_NODE, INSTANCE_SOCKET, PEERS_NODE, SETTINGS_NODE
from meshlight.desktop.window.system_gtk import has_dark_theme, name_windows, use_system_gtk
from meshlight.domain.errors import NoWindow, ServiceError

if TYPE_CHECKING:
    import webview

TITLE: Final = "Meshlight"
MIN_SIZE: Final = (480, 360)
POLL_S: Final = 1.0
"""Between two checks for a new run of the service, whose page needs a new code."""
ADD_PREFIX: Final = "add?"
"""Starts a fragment that fills in the page's dialog for a new backend. No backend id contains a `?`."""
PAIR_PREFIX: Final = "pair?"
"""Starts a fragment that fills in its dialog for pairing."""
LIGHT: Final = "#f5f7fb"
DARK: Final = "#0c1118"
"""Shown before the first paint: the page's backgrounds."""
PAUSE_SCRIPT: Final = "window.dispatchEvent(new Event('meshlight-rest'))"
RESUME_SCRIPT: Final = "window.dispatchEvent(new Event('meshlight-wake'))"


class WindowGeometry(Struct, frozen=True, kw_only=True):
    """The window's last size and position, in the desktop's own pixels; without `x` and `y`, it is centred."""

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


def fit_to_screens(geometry: WindowGeometry, screens: Sequence[Screen]) -> WindowGeometry:
    """Return a visible geometry: on a screen that exists, and no larger than that screen."""
    if not screens:
        return replace(geometry, x=None, y=None)
    x, y = geometry.x, geometry.y
    for screen in screens:
        if x is None or y is None:
            break
        # Enough of its upper edge must be visible to move it with the mouse.
        if (
            screen.x - 50 <= x < screen.x + screen.width - 50
            and screen.y <= y < screen.y + screen.height - 50
        ):
            return replace(geometry, **_limited_size(geometry, screen))
    return replace(geometry, x=None, y=None, **_limited_size(geometry, screens[0]))


def prepare_webkit(environ: MutableMapping[str, str] = os.environ, dri: Path = Path("/dev/dri")) -> None:
    """Set WebKit's environment before it is loaded: without a GPU its DMA-BUF renderer is four times slower."""
    has_gpu = any(dri.glob("renderD*")) and not Path("/proc/driver/nvidia").exists()
    if sys.platform == "linux" and not has_gpu:
        environ.setdefault("WEBKIT_DISABLE_DMABUF_RENDERER", "1")


def with_node(link: str, node: str) -> str:
    """Return the link with a backend selected on the page, or a dialog to open (`add?…`, `pair?…`, `peers?`, …)."""
    fragment = fragment_for(node)
    return f"{link}#{fragment}" if fragment else link


def fragment_for(node: str) -> str:
    """Return the fragment of the page's address that selects a backend or opens a dialog; "" for neither."""
    if node.startswith((ADD_PREFIX, PAIR_PREFIX)):
        return node
    if node in {PEERS_NODE, APPS_NODE}:
        return node.removesuffix("?")
    if node.startswith(SETTINGS_NODE):
        return f"settings={quote(node.removeprefix(SETTINGS_NODE), safe='')}"
    return f"sel={quote(f'b:{node}', safe='')}" if node else ""


class MeshWindow:
    """One window; `run` must be called on the main thread and returns when the window is closed."""

    def __init__(self, runtime_file: Path, state_dir: Path, geometry_file: JsonFile[WindowGeometry]) -> None:
        self._runtime_file = runtime_file
        self._state_dir = state_dir
        self._geometry_file = geometry_file
        self._geometry = geometry_file.read()
        self._instance = ""
        self._origin = ""
        self._is_minimised = False
        self._lock = threading.Lock()
        """Guards `_geometry`: pywebview calls each handler in a thread of its own."""
        self._closed = threading.Event()
        self._window: webview.Window | None = None

    def run(self, node: str = "") -> None:
        """Show the page until the window is closed.

        Raises ServiceError if the service isn't running, NoWindow if this machine can't show a window.
        """
        url = with_node(self._link(), node)
        prepare_webkit()
        background = _prepare_gtk() if use_system_gtk() else DARK
        try:
            import webview  # noqa: PLC0415 - large, and it may be missing

            logging.getLogger("pywebview").setLevel(logging.CRITICAL)
            geometry = self._geometry = fit_to_screens(self._geometry, webview.screens)
        except Exception as error:  # each system and each missing library raises an error of its own
            raise NoWindow(
                "This machine has no web view to show a window with.",
                "On Debian and Ubuntu, install one with: sudo apt install gir1.2-webkit2-4.1 python3-gi",
            ) from error
        webview.settings["ALLOW_FILE_URLS"] = False
        self._window = webview.create_window(
            TITLE,
            url,
            width=geometry.width,
            height=geometry.height,
            x=geometry.x,
            y=geometry.y,
            maximized=geometry.is_maximized,
            min_size=MIN_SIZE,
            background_color=background,
            text_select=True,
        )
        if self._window is None:
            raise NoWindow("The window could not be created.")
        self._connect_events(self._window)
        with ActivationListener(self._state_dir, INSTANCE_SOCKET, self._on_activated):
            threading.Thread(target=self._follow_service, name="service", daemon=True).start()
            try:
                webview.start(private_mode=True)
            finally:
                self._closed.set()
                self._geometry_file.write(self._geometry)

    def close(self) -> None:
        """Close the window, from any thread."""
        if self._window is not None:
            self._window.destroy()

    def _connect_events(self, window: "webview.Window") -> None:
        events = window.events
        events.resized += self._on_resized
        events.moved += self._on_moved
        events.maximized += self._on_maximized
        events.minimized += self._on_minimized
        events.restored += self._on_restored
        events.loaded += self._on_loaded

    def _link(self) -> str:
        """Return a new link from the running service, and remember its instance and address."""
        with ApiClient.connect(self._runtime_file) as client:
            link = client.one_time_link()
            self._instance = client.runtime.instance
            self._origin = client.runtime.url
            return link

    def _on_activated(self, node: str) -> None:
        """Bring the window to the front, because it was requested again; or close it, by `meshlight quit`."""
        if node == QUIT:
            self.close()
            return
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
                return  # the page itself shows that the service is not running

    def _follow_service(self) -> None:
        """Load the page again after each new start of the service, which has lost our session and may have moved."""
        while not self._closed.wait(POLL_S):
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
        """Show only our own page: any other page opens in the browser instead."""
        window = self._window
        url = window.get_current_url() if window is not None else None
        if url and url.startswith(("http://", "https://")) and not url.startswith(f"{self._origin}/"):
            open_link(url)
            self._load()

    def _on_resized(self, width: int, height: int) -> None:
        with self._lock:
            if not self._geometry.is_maximized and not self._is_minimised:
                self._geometry = replace(self._geometry, width=int(width), height=int(height))

    def _on_moved(self, x: int, y: int) -> None:
        with self._lock:
            if not self._geometry.is_maximized and not self._is_minimised:
                self._geometry = replace(self._geometry, x=int(x), y=int(y))

    def _on_maximized(self) -> None:
        with self._lock:
            self._geometry = replace(self._geometry, is_maximized=True)

    def _on_minimized(self) -> None:
        self._is_minimised = True
        self._run_script(PAUSE_SCRIPT)

    def _on_restored(self) -> None:
        if self._is_minimised:
            self._is_minimised = False
            self._run_script(RESUME_SCRIPT)
        else:
            with self._lock:
                self._geometry = replace(self._geometry, is_maximized=False)

    def _run_script(self, script: str) -> None:
        if self._window is not None:
            self._window.run_js(script)


def _prepare_gtk() -> str:
    """Introduce our windows to the desktop; returns the background that suits its theme."""
    with suppress(
        ImportError, ValueError
    ):  # it has the modules and no GTK 3: another toolkit shows the window
        name_windows(NAME)
        return DARK if has_dark_theme() else LIGHT
    return DARK


def _limited_size(geometry: WindowGeometry, screen: Screen) -> dict[str, int]:
    return {
        "width": max(min(geometry.width, screen.width), MIN_SIZE[0]),
        "height": max(min(geometry.height, screen.height), MIN_SIZE[1]),
    }
