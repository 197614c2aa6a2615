import threading

import pytest

from api_client.local_api import LocalApi
from desktop.samples import backend, mesh, scenario
from meshlight.api_client.client import ApiClient
from meshlight.domain.api_types import SnapshotView
from meshlight.domain.errors import BackendCheckFailed, Conflict, ModelNotFound, RequestError, ServiceError
from meshlight.domain.events import IncidentEvent, RefreshEvent


def test_the_snapshot_arrives_as_the_service_made_it(api: LocalApi) -> None:
    api.says("GET", "/mesh/snapshot", scenario())
    with ApiClient.connect(api.runtime_file) as service:
        assert service.snapshot() == scenario()


def test_an_error_of_the_service_is_the_same_error_here(api: LocalApi) -> None:
    api.fails("POST", "/mesh/backends", 422, "check_failed", "Connection refused at x.", "Start it.")
    with ApiClient.connect(api.runtime_file) as service:
        with pytest.raises(BackendCheckFailed) as caught:
            service.add({"kind": "vllm", "url": "http://x"})
        assert (caught.value.title, caught.value.hint) == ("Connection refused at x.", "Start it.")
        api.fails("POST", "/mesh/backends", 409, "conflict", "It is there already.")
        with pytest.raises(Conflict):
            service.add({"kind": "vllm", "url": "http://x"})
        api.fails("GET", "/mesh/route?model=a%2Fb%20c", 404, "model_not_found", "No.", "Did you mean b?")
        with pytest.raises(ModelNotFound):
            service.route("a/b c")
        api.fails("GET", "/mesh/snapshot", 418, "brand_new", "Something new.")
        with pytest.raises(RequestError, match="Something new"):
            service.snapshot()


def test_an_answer_that_is_no_snapshot_hints_at_another_version(api: LocalApi) -> None:
    api.says("GET", "/mesh/snapshot", {"seq": "seven"})
    with ApiClient.connect(api.runtime_file) as service, pytest.raises(ServiceError) as caught:
        service.snapshot()
    assert "different versions" in caught.value.hint


def test_fields_of_a_newer_service_are_passed_over(api: LocalApi) -> None:
    api.says("POST", "/mesh/session/code", {"url": "http://127.0.0.1:1/?code=c", "expires_s": 60})
    with ApiClient.connect(api.runtime_file) as service:
        assert service.one_time_link() == "http://127.0.0.1:1/?code=c"


def test_ids_with_odd_letters_reach_the_right_address(api: LocalApi) -> None:
    api.says("POST", "/mesh/backends/a%2Fb%3F/enable", backend("a/b?"))
    with ApiClient.connect(api.runtime_file) as service:
        assert service.switch("a/b?", on=True).id == "a/b?"


def test_a_refresh_tells_its_progress_and_ends_with_the_answer(api: LocalApi) -> None:
    heard: list[tuple[int, int]] = []
    two_are_done = threading.Event()

    def progress(done: int, total: int) -> None:
        heard.append((done, total))
        if done == 2:
            two_are_done.set()

    def work() -> object:
        for done in range(3):
            api.send(RefreshEvent(seq=8 + done, id="r1", done=done, total=3))
        assert two_are_done.wait(10)
        return {"id": "r1", "done": 3, "total": 3}

    api.send(mesh())
    api.says("POST", "/mesh/refresh?wait=true", work)
    with ApiClient.connect(api.runtime_file) as service:
        service.refresh(progress)
    assert heard == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_refresh_that_fails_says_why(api: LocalApi) -> None:
    api.send(mesh())
    api.fails("POST", "/mesh/refresh?wait=true", 403, "boundary", "Not from there.")
    with (
        ApiClient.connect(api.runtime_file) as service,
        pytest.raises(RequestError, match="Not from there"),
    ):
        service.refresh(lambda _done, _total: None)


def test_events_begin_with_the_whole_and_end_with_the_service(api: LocalApi) -> None:
    incident = IncidentEvent(
        seq=8, backend="b", from_="healthy", to="unhealthy", reason="refused", text="No."
    )
    api.send(mesh())
    api.send(incident)
    api.end_events()
    seen: list[object] = []
    with ApiClient.connect(api.runtime_file) as service, pytest.raises(ServiceError, match="has stopped"):
        seen.extend(service.events())
    with ApiClient.connect(api.runtime_file) as service:
        api.send(mesh())
        api.send(incident)
        events = service.events()
        assert isinstance(next(events), SnapshotView)
        assert next(events) == incident
        events.close()  # type: ignore[attr-defined]
