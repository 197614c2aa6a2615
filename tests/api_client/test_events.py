import msgspec
import pytest

from desktop.samples import mesh
from meshlight.api_client.events import read_feed
from meshlight.domain.errors import ServiceError
from meshlight.domain.events import IncidentEvent, LocalEvent, RefreshEvent
from meshlight.domain.local_views import DownloadView, LocalModelView, MemoryView


def lines(name: str, event: object) -> list[str]:
    return [f"event: {name}", f"data: {msgspec.json.encode(event).decode()}", ""]


def test_events_are_read_by_their_names() -> None:
    refresh = RefreshEvent(seq=2, id="r", done=1, total=3)
    incident = IncidentEvent(seq=3, backend="b", from_="unknown", to="healthy", reason="ok", text="Well.")
    heard = read_feed([*lines("snapshot", mesh()), *lines("refresh", refresh), *lines("incident", incident)])
    assert list(heard) == [mesh(), refresh, incident]


def test_events_about_this_machines_models_are_read() -> None:
    event = LocalEvent(
        seq=4,
        models=(LocalModelView(id="owner/repo:Q4_K_M", state="loading", progress=0.5),),
        removed=("gone",),
        memory=MemoryView(total_bytes=1),
        downloads=(DownloadView(id="d1", name="starter", state="running"),),
    )
    assert list(read_feed(lines("local", event))) == [event]


def test_pings_numbers_and_events_of_tomorrow_are_passed_over() -> None:
    refresh = RefreshEvent(seq=2, id="r", done=1, total=3)
    said = [
        ": ping",
        "",
        *lines("brand-new", {"seq": 1}),
        "id: 2",
        *lines("refresh", refresh),
        "event: refresh",
        "",
    ]
    assert list(read_feed(said)) == [refresh]


def test_a_half_event_at_the_end_is_not_an_event() -> None:
    assert list(read_feed(lines("refresh", RefreshEvent(seq=2, id="r", done=1, total=3))[:-1])) == []


def test_data_may_come_on_several_lines() -> None:
    said = ["event:refresh", 'data:{"seq":2,"id":"r",', 'data:"done":1,"total":3}', ""]
    assert list(read_feed(said)) == [RefreshEvent(seq=2, id="r", done=1, total=3)]


def test_an_event_that_is_not_what_its_name_says_is_an_error() -> None:
    with pytest.raises(ServiceError, match="refresh event that this program can't read"):
        list(read_feed(lines("refresh", {"seq": "two"})))
