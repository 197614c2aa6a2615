from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from desktop.samples import backend, mesh
from meshlight.desktop.tray.notifications import Notification, NotificationQueue, WatchedState, watched_states
from meshlight.domain.health import State

HEALTHY_SERVICE = WatchedState("Meshlight", "healthy")


def all_of(names: list[str], state: State) -> dict[str, State]:
    return dict.fromkeys(names, state)


def states(**states: State) -> dict[str, WatchedState]:
    return {name: WatchedState(name, state, "Connection refused.") for name, state in states.items()}


def test_a_backend_that_stays_down_for_ten_seconds_is_told_once_with_the_reason() -> None:
    queue = NotificationQueue()
    queue.update(states(box="healthy"), 0.0)
    queue.update(states(box="unhealthy"), 5.0)
    assert queue.due_at == 15.0
    assert queue.next_due(14.9) is None
    assert queue.next_due(15.0) == Notification("box is down", "Connection refused.")
    assert queue.due_at is None


def test_what_was_down_at_the_start_is_no_news() -> None:
    queue = NotificationQueue()
    queue.update(states(box="unhealthy"), 0.0)
    assert queue.due_at is None


def test_a_backend_that_flaps_is_not_told_of() -> None:
    queue = NotificationQueue()
    queue.update(states(box="healthy"), 0.0)
    for second in range(1, 100, 2):
        queue.update(states(box="unhealthy"), second)
        queue.update(states(box="healthy"), second + 1)
        assert queue.next_due(second + 1.5) is None


def test_the_way_up_by_loading_a_model_is_told_when_it_is_up() -> None:
    queue = NotificationQueue()
    queue.update(states(box="healthy"), 0.0)
    queue.update(states(box="unhealthy"), 1.0)
    assert queue.next_due(11.0) is not None
    queue.update(states(box="warming"), 80.0)
    assert queue.due_at is None
    queue.update(states(box="healthy"), 90.0)
    assert queue.next_due(100.0) == Notification("box is healthy again", "")


def test_changes_at_about_the_same_time_come_as_one_notification() -> None:
    queue = NotificationQueue()
    names = [f"box-{n}" for n in range(7)]
    queue.update(states(**all_of(names, "healthy"), other="healthy"), 0.0)
    queue.update(states(**all_of(names, "unhealthy"), other="healthy"), 1.0)
    notification = queue.next_due(11.0)
    assert notification is not None
    assert notification.title == "7 backends are down"
    assert notification.body.splitlines() == [*(f"box-{n} is down" for n in range(4)), "and 3 more"]


def test_when_the_last_backend_is_down_that_is_what_is_said() -> None:
    queue = NotificationQueue()
    queue.update(states(a="healthy", b="healthy"), 0.0)
    queue.update(states(a="unhealthy", b="unhealthy"), 1.0)
    notification = queue.next_due(11.0)
    assert notification is not None
    assert notification.title == "Every backend is down"


def test_a_second_notification_waits_for_a_minute_and_tells_all_of_it() -> None:
    queue = NotificationQueue()
    queue.update(states(a="healthy", b="healthy", c="healthy"), 0.0)
    queue.update(states(a="unhealthy", b="healthy", c="healthy"), 0.0)
    assert queue.next_due(10.0) is not None
    queue.update(states(a="unhealthy", b="unhealthy", c="healthy"), 12.0)
    assert queue.due_at == 70.0
    queue.update(states(a="healthy", b="unhealthy", c="healthy"), 20.0)
    notification = queue.next_due(70.0)
    assert notification is not None
    assert notification.title == "2 backends changed"


def test_what_happens_while_notifications_are_off_is_not_told_afterwards() -> None:
    queue = NotificationQueue()
    queue.update(states(box="healthy"), 0.0)
    queue.update(states(box="unhealthy"), 1.0)
    assert queue.next_due(11.0, silent=True) is None
    assert queue.next_due(100.0) is None
    assert queue.due_at is None


def test_a_backend_that_is_removed_or_switched_off_is_forgotten() -> None:
    queue = NotificationQueue()
    queue.update(states(box="healthy"), 0.0)
    queue.update(states(box="unhealthy"), 1.0)
    queue.update({}, 2.0)
    assert queue.due_at is None


def test_names_of_strangers_can_not_break_the_note() -> None:
    queue = NotificationQueue()
    queue.update({"x": WatchedState("evil\n\x1b[31m" + "A" * 300, "healthy")}, 0.0)
    queue.update({"x": WatchedState("evil\n\x1b[31m" + "A" * 300, "unhealthy", "why\n" * 90)}, 1.0)
    notification = queue.next_due(11.0)
    assert notification is not None
    assert "\x1b" not in notification.title
    assert "\n" not in notification.title
    assert len(notification.title) <= 60
    assert len(notification.body) < 120 * 100


def test_while_the_service_is_down_only_that_is_watched() -> None:
    view = mesh(backend("a"), backend("b", enabled=False))
    assert watched_states(view, service=HEALTHY_SERVICE).keys() == {"", "a"}
    assert watched_states(view, service=WatchedState("Meshlight", "unhealthy", "Stopped.")).keys() == {""}


@given(
    st.lists(st.tuples(st.floats(0.1, 30), st.sampled_from(["healthy", "unhealthy", "warming"])), max_size=60)
)
def test_two_notifications_are_never_less_than_a_minute_apart(steps: list[tuple[float, State]]) -> None:
    queue, now, times = NotificationQueue(), 0.0, list[float]()
    for wait, state in steps:
        now += wait
        queue.update(states(a=state, b="healthy"), now)
        if queue.next_due(now) is not None:
            times.append(now)
    assert all(b - a >= 60.0 for a, b in pairwise(times))
