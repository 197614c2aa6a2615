"""Links on macOS as far as our code touches the system: Foundation is played by stand-ins with its names."""

import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from meshlight.desktop.system.macos_links import DIRECT_OBJECT, GET_URL, SELECTOR, receive_links


class EventManager:
    """Plays NSAppleEventManager: holds what it is told, and not the receiver's life."""

    def __init__(self) -> None:
        self.handlers: dict[tuple[int, int], Callable[[Any, Any], None]] = {}

    def sharedAppleEventManager(self) -> "EventManager":  # noqa: N802 - Foundation's name
        return self

    def setEventHandler_andSelector_forEventClass_andEventID_(  # noqa: N802 - Foundation's name
        self, receiver: object, selector: str, kind: int, id_: int
    ) -> None:
        self.handlers[kind, id_] = getattr(receiver, selector.replace(":", "_"))


class Object:
    """Plays NSObject."""

    @classmethod
    def alloc(cls) -> "Object":
        return cls()

    def init(self) -> "Object":
        return self


class Event:
    """Plays NSAppleEventDescriptor."""

    def __init__(self, text: str | None) -> None:
        self._text = text

    def paramDescriptorForKeyword_(self, key: int) -> object:  # noqa: N802 - Foundation's name
        assert key == DIRECT_OBJECT
        return SimpleNamespace(stringValue=lambda: self._text) if self._text != "nothing" else None


def test_a_link_that_is_clicked_while_the_loop_runs_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    manager, queued, links = EventManager(), list[Callable[[], None]](), list[str]()
    foundation = SimpleNamespace(NSObject=Object, NSAppleEventManager=manager)
    monkeypatch.setitem(sys.modules, "Foundation", foundation)
    helper = SimpleNamespace(callAfter=queued.append)
    monkeypatch.setitem(sys.modules, "PyObjCTools", SimpleNamespace(AppHelper=helper))
    assert receive_links(links.append) is not None
    assert manager.handlers == {}, "AppKit would put its own handler over one that is set before its loop"
    for task in queued:
        task()
    (handle,) = manager.handlers.values()
    for text in ("meshlight://add?kind=ollama", "https://elsewhere.example", None, "nothing"):
        handle(Event(text), None)
    assert links == ["meshlight://add?kind=ollama"]
    assert GET_URL == 0x4755524C
    assert SELECTOR.count(":") == 2
