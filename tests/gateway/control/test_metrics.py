"""The numbers at `/metrics`, as a scraper reads them."""

from collections.abc import Mapping

from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from meshlight.domain.api_types import BackendView, HealthView, Requests, RouterView, SnapshotView, Workload
from meshlight.domain.backend import Reason
from meshlight.domain.local_views import DownloadView, LocalModelView, LocalView, MemoryView
from meshlight.gateway.control.metrics import BACKENDS, Metrics

HEALTHY = HealthView(state="healthy", reason="ok", text="", fix="", since_s=1)
BACKEND = BackendView(
    id="ollama-1",
    name="Ollama",
    kind="ollama",
    ring="machine",
    url="http://127.0.0.1:11434",
    enabled=True,
    source="found",
    health=HEALTHY,
    latency_ms=1.5,
    models=("qwen-model",),
    in_flight=2,
    requests=Workload(
        total=7, successful=5, failed=2, in_flight=2, first_byte_ms=250.0, tokens_in=10, tokens_out=20
    ),
)
ROUTER = RouterView(
    node_id="n",
    name="node",
    version="1.2.3",
    status="running",
    uptime_s=12.5,
    requests=Requests(total=9, successful=6, failed=3, in_flight=2),
)


def view(*backends: BackendView) -> SnapshotView:
    return SnapshotView(seq=1, router=ROUTER, light="green", light_reason="", backends=backends, models=())


def scrape(*backends: BackendView) -> Mapping[tuple[str, tuple[str, ...]], float]:
    text = Metrics(lambda: view(*backends)).text().decode()
    return {
        (sample.name, tuple(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_scraper_reads_the_numbers_of_each_backend() -> None:
    found = scrape(BACKEND)

    assert found == {
        ("meshlight_build_info", ("1.2.3",)): 1,
        ("meshlight_uptime_seconds", ()): 12.5,
        ("meshlight_router_requests_total", ("successful",)): 6,
        ("meshlight_router_requests_total", ("failed",)): 3,
        ("meshlight_requests_total", ("ollama-1", "successful")): 5,
        ("meshlight_requests_total", ("ollama-1", "failed")): 2,
        ("meshlight_requests_in_flight", ("ollama-1",)): 2,
        ("meshlight_tokens_total", ("ollama-1", "in")): 10,
        ("meshlight_tokens_total", ("ollama-1", "out")): 20,
        ("meshlight_first_byte_seconds", ("ollama-1",)): 0.25,
        ("meshlight_backend_up", ("ollama-1", "ollama", "machine")): 1,
        ("meshlight_backend_latency_seconds", ("ollama-1",)): 0.0015,
    }


def test_a_backend_that_is_not_healthy_is_down_and_a_disabled_one_neither() -> None:
    sick = replace(BACKEND, id="sick", health=replace(HEALTHY, state="unhealthy"), latency_ms=None)
    off = replace(BACKEND, id="off", enabled=False)
    found = scrape(sick, off)

    assert found["meshlight_backend_up", ("sick", "ollama", "machine")] == 0
    assert ("meshlight_backend_latency_seconds", ("sick",)) not in found
    assert ("meshlight_backend_up", ("off", "ollama", "machine")) not in found
    assert found["meshlight_requests_total", ("off", "failed")] == 2


def test_a_hostile_name_breaks_no_line_and_takes_no_place_of_another() -> None:
    names = ['a"} 1\nmeshlight_uptime_seconds 9\n#', "a\\", "\ud800", "\x00\x1b[31m", "x" * 500, "x" * 499]
    found = scrape(*(replace(BACKEND, id=name) for name in names))

    labels = {labels[0] for name, labels in found if name == "meshlight_backend_up"}
    assert len(labels) == len(names)
    assert all(label.isprintable() and len(label) < 80 for label in labels)
    assert found["meshlight_uptime_seconds", ()] == 12.5


def test_thousands_of_backends_are_not_thousands_of_labels() -> None:
    found = scrape(*(replace(BACKEND, id=f"b{place}") for place in range(5000)))

    assert sum(name == "meshlight_backend_up" for name, _ in found) == BACKENDS


def test_nothing_is_asked_of_the_mesh_before_somebody_scrapes() -> None:
    asked: list[int] = []

    def look() -> SnapshotView:
        asked.append(1)
        return view()

    metrics = Metrics(look)
    assert asked == []
    metrics.text()
    metrics.text()
    assert len(asked) == 2


def test_no_address_and_no_model_is_told() -> None:
    text = Metrics(lambda: view(BACKEND)).text()

    assert b"11434" not in text
    assert b"qwen-model" not in text


def test_this_machines_own_models_are_counted_by_state_and_never_named() -> None:
    local = LocalView(
        models=(
            LocalModelView(id="secret-a", state="ready", in_flight=1),
            LocalModelView(id="secret-b", state="loading", waiting=3),
            LocalModelView(id="secret-c", state="failed", reason=Reason("broken", "secret")),
        ),
        memory=MemoryView(models_bytes=5_000, budget_bytes=9_000),
        downloads=(DownloadView(id="1", name="secret/d", state="running"),),
    )
    text = Metrics(view, lambda: local).text()
    assert b"secret" not in text
    lines = text.decode().splitlines()
    for line in (
        'meshlight_local_models{state="ready"} 1.0',
        'meshlight_local_models{state="on-disk"} 0.0',
        'meshlight_local_models{state="failed"} 1.0',
        "meshlight_local_models_bytes 5000.0",
        "meshlight_local_budget_bytes 9000.0",
        "meshlight_local_requests_waiting 3.0",
        'meshlight_local_downloads{state="running"} 1.0',
    ):
        assert line in lines


def test_switched_off_there_are_no_such_numbers() -> None:
    assert b"meshlight_local" not in Metrics(view, lambda: LocalView(enabled=False)).text()
    assert b"meshlight_local" not in Metrics(view).text()
