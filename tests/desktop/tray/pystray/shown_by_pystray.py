"""A program that shows a tray by pystray: `shown_by_pystray.py WAY`.

It shows the state that each line of its stdin names, says each click on its stdout, and ends on `stop` or a signal.
"""

import signal
import sys
import threading
from types import FrameType

from desktop.samples import scenario
from meshlight.desktop.tray.menu import menu
from meshlight.desktop.tray.pystray.toolkit import PystrayBackend, load
from meshlight.desktop.tray.pystray.tray import PystrayTray
from meshlight.desktop.tray.state import TrayState
from meshlight.desktop.tray.tooltip import tooltip
from meshlight.desktop.window.system_gtk import use_system_gtk
from meshlight.domain.snapshot import Light

LIGHTS: dict[str, Light] = {"green": "green", "amber": "amber", "red": "red", "grey": "grey"}
RUNNING = TrayState(service="running", url="http://127.0.0.1:6374", starts_at_login=True, notifies=True)


def show(way: PystrayBackend) -> str:
    tray = PystrayTray(lambda action: print(action.verb, action.target, flush=True), way, load(way))
    tray.set_icon("grey")
    tray.set_tooltip(tooltip(scenario(), RUNNING))
    tray.set_menu(menu(scenario(), RUNNING))

    def leave(number: int, _frame: FrameType | None) -> None:
        print(signal.Signals(number).name, flush=True)
        tray.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)

    def obey() -> None:
        for line in sys.stdin:
            if line.strip() == "stop":
                tray.stop()
            else:
                tray.set_icon(LIGHTS[line.strip()])

    threading.Thread(target=obey, daemon=True).start()
    return tray.run(lambda: print("ready", flush=True))


if __name__ == "__main__":
    use_system_gtk()
    ways: dict[str, PystrayBackend] = {"appindicator": "appindicator", "gtk": "gtk", "xorg": "xorg"}
    print("ended", show(ways[sys.argv[1]]), flush=True)
