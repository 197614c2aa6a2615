"""The menu bar of macOS as far as our code touches it: AppKit is played by stand-ins with its names."""

import io
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from meshlight.desktop.tray.icon import icon
from meshlight.desktop.tray.pystray.macos_icon import PIXELS, on_main_thread, patch_mac_icon


class Picture:
    """Plays NSImage: its pixels, and the size in points at which it is shown."""

    points: tuple[float, float] | None = None

    def __init__(self, file: bytes = b"") -> None:
        self.file = file

    @classmethod
    def alloc(cls) -> type["Picture"]:
        return cls

    @classmethod
    def initWithData_(cls, file: bytes) -> "Picture":  # noqa: N802 - AppKit's name
        return cls(file)

    def setSize_(self, points: tuple[float, float]) -> None:  # noqa: N802 - AppKit's name
        self.points = points


class Application:
    """Plays NSApplication."""

    policy = 0

    @classmethod
    def sharedApplication(cls) -> type["Application"]:  # noqa: N802 - AppKit's name
        return cls

    @classmethod
    def setActivationPolicy_(cls, policy: int) -> None:  # noqa: N802 - AppKit's name
        cls.policy = policy


class PlainIcon:
    """Plays pystray's icon, as far as it was taken from there."""

    def __init__(self, picture: Image.Image) -> None:
        self._icon = picture
        self._icon_image: Any = None
        self.shown: list[Picture] = []
        self._status_bar = SimpleNamespace(thickness=lambda: 22.0)
        self._status_item = SimpleNamespace(button=lambda: SimpleNamespace(setImage_=self.shown.append))


@pytest.fixture
def appkit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "AppKit", SimpleNamespace(NSApplication=Application, NSImage=Picture))
    monkeypatch.setitem(sys.modules, "Foundation", SimpleNamespace(NSData=bytes))


@pytest.mark.usefixtures("appkit")
def test_the_icon_keeps_all_its_pixels_on_retina() -> None:
    native_icon = patch_mac_icon(PlainIcon)(icon("green", PIXELS))
    native_icon._assert_image()
    (shown,) = native_icon.shown
    assert shown.points == (22.0, 22.0)
    with Image.open(io.BytesIO(shown.file)) as picture:
        assert picture.size == (44, 44)
    assert native_icon._icon_image is shown


@pytest.mark.usefixtures("appkit")
def test_no_tile_appears_in_the_dock() -> None:
    patch_mac_icon(PlainIcon)
    assert Application.policy == 1


def test_the_screen_is_touched_by_the_main_thread_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    queued: list[object] = []
    helper = SimpleNamespace(callAfter=queued.append)
    monkeypatch.setitem(sys.modules, "PyObjCTools", SimpleNamespace(AppHelper=helper))
    on_main_thread(print)
    assert queued == [print]
