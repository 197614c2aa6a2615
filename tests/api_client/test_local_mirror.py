from desktop.own_models import SMOL, download, loaded, local, model
from fake_clock import Clock
from meshlight.api_client.local_mirror import LocalMirror
from meshlight.domain.events import LocalEvent
from meshlight.domain.local_views import MemoryView


def test_an_event_changes_adds_and_removes_models_and_replaces_memory_and_downloads() -> None:
    mirror = LocalMirror(local(model("a"), model("b"), model("c")), Clock())
    memory = MemoryView(total_bytes=1)
    event = LocalEvent(
        seq=1,
        models=(loaded("b"), model(SMOL)),
        removed=("c", "unknown"),
        memory=memory,
        downloads=(download(),),
    )
    view = mirror.apply(event)
    assert [(one.id, one.state) for one in view.models] == [
        ("a", "on-disk"),
        ("b", "ready"),
        (SMOL, "on-disk"),
    ]
    assert (view.memory, view.downloads, view.starters) == (memory, (download(),), local().starters)
    assert mirror.view is view


def test_the_idle_times_of_models_that_no_event_names_go_on() -> None:
    clock = Clock()
    mirror = LocalMirror(local(loaded("a", idle_s=10.0, expires_in_s=15.0), loaded("b", keep=True)), clock)
    clock.pass_time(20.0)
    first, second = mirror.apply(LocalEvent(seq=1, models=(loaded("b", idle_s=1.0),))).models
    assert (first.idle_s, first.expires_in_s) == (30.0, 0.0)
    assert second.idle_s == 1.0
    clock.pass_time(5.0)
    first, second = mirror.apply(LocalEvent(seq=2)).models
    assert (first.idle_s, second.idle_s) == (35.0, 6.0)
