from collections.abc import Iterator

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from desktop.samples import backend, hostile, mesh, scenario
from meshlight.desktop.tray.menu import latency, menu
from meshlight.desktop.tray.menu_items import Action, Item
from meshlight.desktop.tray.state import Refresh, TrayState
from meshlight.domain.text import sanitize, width

RUNNING = TrayState(service="running", url="http://127.0.0.1:6374", starts_at_login=False, notifies=True)


def find(items: tuple[Item, ...], *keys: str) -> Item:
    first, *rest = keys
    item = next(item for item in items if item.key == first)
    return find(item.items, *rest) if rest else item


def walk(items: tuple[Item, ...]) -> Iterator[Item]:
    for item in items:
        yield item
        yield from walk(item.items)


def test_the_menu_of_a_running_mesh_has_everything_in_its_order() -> None:
    labels = [item.text if not item.is_separator else "--" for item in menu(scenario(), RUNNING)]
    assert labels == [
        "▲ 1 of 5 down: Big box — refused, is it running?",
        "Open mesh",
        "--",
        "Refresh now",
        "Backends",
        "--",
        "Use it in your apps…",
        "Copy API address",
        "Copy API key",
        "Copy as environment",
        "--",
        "Pause routing",
        "Start at login",
        "Notifications",
        "Snooze notifications for 1 hour",
        "Settings…",
        "Show log",
        "About",
        "--",
        "Quit",
    ]


def test_open_mesh_is_what_a_click_on_the_icon_does() -> None:
    defaults = [item for item in walk(menu(scenario(), RUNNING)) if item.is_default]
    assert [item.action for item in defaults] == [Action("open")]


def test_each_backend_shows_its_state_and_latency_or_what_is_wrong() -> None:
    lines = [item.text for item in find(menu(scenario(), RUNNING), "backends").items]
    assert lines == [
        "● llama.cpp: healthy, <1 ms",
        "● Ollama: healthy, 10 ms",
        "✖ Big box: unhealthy — refused, is it running?",
        "◐ MLX: warming — loading a model",
        "○ a-very-long-na…y.example.com: unknown — not checked yet",
        "- LM Studio: off",
    ]


def test_a_backend_can_be_opened_checked_and_switched_off() -> None:
    backends = find(menu(scenario(), RUNNING), "backends")
    assert [(line.text, line.action) for line in find(backends.items, "backend big-box").items] == [
        ("Open in mesh", Action("open", "big-box")),
        ("Check now", Action("check", "big-box")),
        ("Disable", Action("disable", "big-box")),
    ]


def test_a_backend_that_is_off_can_be_switched_on_and_not_checked() -> None:
    off = find(menu(scenario(), RUNNING), "backends", "backend lms")
    assert [(line.text, line.action) for line in off.items][1:] == [
        ("Check now", None),
        ("Enable", Action("enable", "lms")),
    ]


def test_the_status_line_leads_to_the_backend_that_is_down() -> None:
    assert find(menu(scenario(), RUNNING), "status").action == Action("open", "big-box")
    assert not find(menu(mesh(backend("a")), RUNNING), "status").enabled


def test_a_hundred_backends_do_not_make_a_menu_taller_than_the_screen_and_the_sick_come_first() -> None:
    view = mesh(*(backend(f"b{i}", state="unhealthy" if i == 77 else "healthy") for i in range(100)))
    lines = find(menu(view, RUNNING), "backends").items
    assert len(lines) == 26
    assert lines[0].text.startswith("✖ b77")
    assert lines[-1] == Item(key="more", text="75 more backends…", action=Action("open"))


def test_refresh_shows_its_progress_then_its_result() -> None:
    def refresh(state: Refresh | None) -> tuple[str, bool]:
        item = find(menu(scenario(), replace(RUNNING, refresh=state)), "refresh")
        return item.text, item.enabled

    assert refresh(None) == ("Refresh now", True)
    assert refresh(Refresh()) == ("Refreshing…", False)
    assert refresh(Refresh(done=2, total=5)) == ("Refreshing… 2/5", False)
    assert refresh(Refresh(done=5, total=5, is_over=True)) == ("Refreshed: 2 of 5 healthy", True)
    assert refresh(Refresh(is_over=True, error="No\nanswer.")) == ("Refresh failed: No answer.", True)


def test_routing_is_paused_and_resumed_at_the_same_place() -> None:
    view = scenario()
    assert find(menu(view, RUNNING), "pause").action == Action("pause")
    paused = replace(view, router=replace(view.router, status="paused"))
    assert find(menu(paused, RUNNING), "pause") == Item(
        key="pause", text="Resume routing", action=Action("resume")
    )


def test_the_switches_show_how_they_stand() -> None:
    off, on = (
        menu(scenario(), RUNNING),
        menu(scenario(), replace(RUNNING, starts_at_login=True, notifies=False)),
    )
    assert (find(off, "login").checked, find(off, "login").action) == (False, Action("login-on"))
    assert (find(on, "login").checked, find(on, "login").action) == (True, Action("login-off"))
    assert (find(off, "notify").checked, find(off, "notify").action) == (True, Action("notify-off"))
    assert (find(on, "notify").checked, find(on, "notify").action) == (False, Action("notify-on"))


def test_notifications_are_snoozed_and_woken() -> None:
    assert find(menu(scenario(), RUNNING), "snooze").action == Action("snooze")
    snoozed = find(menu(scenario(), replace(RUNNING, snoozed_until="14:05")), "snooze")
    assert snoozed.text == "End snooze (notifications are off until 14:05)"
    assert snoozed.action == Action("wake")
    keys = [item.key for item in menu(scenario(), replace(RUNNING, notifies=False))]
    assert "snooze" not in keys


def test_what_can_not_be_switched_here_is_not_there() -> None:
    keys = [item.key for item in menu(scenario(), replace(RUNNING, starts_at_login=None, notifies=None))]
    assert not {"login", "notify", "snooze"} & set(keys)


def test_while_the_service_is_down_only_what_still_works_can_be_clicked() -> None:
    items = menu(scenario(), TrayState(service="down"))
    assert [item.key for item in items if item.enabled] == ["log", "about", "quit"]
    assert items[0].text == "✖ The service is down and is being restarted."


def test_a_service_that_gave_up_is_restarted_by_hand() -> None:
    items = menu(None, TrayState(service="stopped", message="Service stopped: it died 5 times."))
    assert [(item.key, item.action) for item in items if item.enabled and not item.items] == [
        ("restart", Action("restart")),
        ("log", Action("log")),
        ("quit", Action("quit")),
    ]


def test_quit_says_when_the_service_goes_on() -> None:
    assert (
        find(menu(scenario(), replace(RUNNING, owns_service=False)), "quit").text
        == "Quit (the service keeps running)"
    )


def test_a_mesh_without_backends_says_so() -> None:
    line = find(menu(mesh(light="grey", reason="No backend found yet."), RUNNING), "backends")
    assert (line.text, line.enabled) == ("No backend yet: a server or account that answers", False)


def test_names_of_strangers_keep_to_their_line() -> None:
    for item in walk(menu(hostile(), RUNNING)):
        assert item.text == sanitize(item.text)
        assert width(item.text) <= 72


def test_the_same_mesh_gives_the_same_menu() -> None:
    assert menu(scenario(), RUNNING) == menu(scenario(), RUNNING)


def test_a_latency_that_wavers_does_not_change_the_menu() -> None:
    def with_latency(value_ms: float) -> tuple[Item, ...]:
        return menu(mesh(backend("a", latency_ms=value_ms)), RUNNING)

    assert with_latency(0.4) == with_latency(0.9)
    assert with_latency(13.1) == with_latency(16.9)
    assert with_latency(13.1) != with_latency(31.0)


def test_latencies_are_told_in_steps() -> None:
    told = [latency(ms) for ms in (None, 0.2, 1.0, 7.4, 10.1, 48.0, 96.0, 333.0, 999.0, 1430.0, 61_000.0)]
    assert told == [
        "", "<1 ms", "1 ms", "7 ms", "10 ms", "50 ms", "100 ms", "350 ms", "1.0 s", "1.5 s", "61.0 s",
    ]  # fmt: skip


@given(st.floats(min_value=0, max_value=1e6), st.floats(min_value=0, max_value=1e6))
def test_a_longer_latency_is_never_told_as_a_shorter_one(one: float, other: float) -> None:
    def ms(message: str) -> float:
        number, unit = message.removeprefix("<").split()
        return float(number) * (1000 if unit == "s" else 1) - message.startswith("<")

    low, high = sorted((one, other))
    assert ms(latency(low)) <= ms(latency(high))


def test_no_two_lines_of_one_menu_have_the_same_key() -> None:
    def check(items: tuple[Item, ...]) -> None:
        keys = [item.key for item in items]
        assert len(keys) == len(set(keys))
        for item in items:
            check(item.items)

    for service in ("starting", "running", "down", "stopped"):
        check(menu(scenario(), replace(RUNNING, service=service)))
