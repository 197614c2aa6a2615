"""`/metrics`: the service's own numbers in Prometheus' text format."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from meshlight.domain.api_types import BackendView, SnapshotView
from meshlight.domain.local_models import EngineState
from meshlight.domain.local_views import DownloadState, LocalView

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
BACKENDS = 256
"""Backends beyond this number get no metrics: labels cost a scraper memory for as long as it stores them."""
LABEL_LENGTH = 64


class Metrics:
    """Shows a snapshot as metrics, in a registry of its own, without metrics of the process.

    `local` returns what there is of this machine's own models, where they are switched on.
    """

    def __init__(
        self, view: Callable[[], SnapshotView], local: Callable[[], LocalView] | None = None
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_MeshCollector(view, local))

    def text(self) -> bytes:
        """Return the current metrics."""
        return generate_latest(self._registry)


class _MeshCollector(Collector):
    def __init__(self, view: Callable[[], SnapshotView], local: Callable[[], LocalView] | None) -> None:
        self._view = view
        self._local = local

    def describe(self) -> Iterator[Metric]:
        """Describe nothing, so that registering needs no snapshot."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Take one snapshot and yield its metrics."""
        view = self._view()
        labels = _labels(view.backends)
        yield InfoMetricFamily(
            "meshlight_build", "The running version.", {"version": label(view.router.version)}
        )
        yield GaugeMetricFamily("meshlight_uptime_seconds", "Age of the service.", view.router.uptime_s)
        totals = CounterMetricFamily(
            "meshlight_router_requests", "Requests of clients, whichever backend answered.", labels=["result"]
        )
        totals.add_metric(["successful"], view.router.requests.successful)
        totals.add_metric(["failed"], view.router.requests.failed)
        yield totals
        yield from _traffic(view.backends, labels)
        yield from _states(view.backends, labels)
        local = None if self._local is None else self._local()
        if local is not None and local.enabled:
            yield from _local(local)


def label(text: str) -> str:
    """Return untrusted text as a label value: one short line that every scraper can read."""
    clean = "".join(letter if letter.isprintable() else "_" for letter in text[:LABEL_LENGTH])
    return clean.encode("utf-8", "replace").decode()


def _labels(backends: tuple[BackendView, ...]) -> dict[str, str]:
    """Return a unique label for each of the first BACKENDS backends."""
    labels: dict[str, str] = {}
    used: set[str] = set()
    for number, backend in enumerate(backends[:BACKENDS]):
        name = label(backend.id)
        labels[backend.id] = name if name not in used else f"{name}#{number}"
        used.add(labels[backend.id])
    return labels


def _traffic(backends: tuple[BackendView, ...], labels: dict[str, str]) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "meshlight_requests", "Requests a backend answered or failed.", labels=["backend", "result"]
    )
    in_flight = GaugeMetricFamily("meshlight_requests_in_flight", "Requests running now.", labels=["backend"])
    tokens = CounterMetricFamily(
        "meshlight_tokens", "Tokens, where the answers told them.", labels=["backend", "direction"]
    )
    first_byte = GaugeMetricFamily(
        "meshlight_first_byte_seconds",
        "Median time to the first body byte of the last answers.",
        labels=["backend"],
    )
    for backend in backends:
        if (name := labels.get(backend.id)) is None:
            continue
        work = backend.requests
        requests.add_metric([name, "successful"], work.successful)
        requests.add_metric([name, "failed"], work.failed)
        in_flight.add_metric([name], backend.in_flight)
        tokens.add_metric([name, "in"], work.tokens_in)
        tokens.add_metric([name, "out"], work.tokens_out)
        if work.first_byte_ms is not None:
            first_byte.add_metric([name], work.first_byte_ms / 1000)
    yield from (requests, in_flight, tokens, first_byte)


def _states(backends: tuple[BackendView, ...], labels: dict[str, str]) -> Iterator[Metric]:
    up = GaugeMetricFamily(
        "meshlight_backend_up",
        "1 when an enabled backend is healthy, else 0; disabled ones are left out.",
        labels=["backend", "kind", "ring"],
    )
    latency = GaugeMetricFamily(
        "meshlight_backend_latency_seconds", "Median latency of the last probes.", labels=["backend"]
    )
    for backend in backends:
        if (name := labels.get(backend.id)) is None:
            continue
        if backend.enabled:
            up.add_metric([name, backend.kind, backend.ring], float(backend.health.state == "healthy"))
        if backend.latency_ms is not None:
            latency.add_metric([name], backend.latency_ms / 1000)
    yield from (up, latency)


def _local(view: LocalView) -> Iterator[Metric]:
    """Yield the numbers of this machine's own models, by state and never by name."""
    models = GaugeMetricFamily("meshlight_local_models", "This machine's models, by state.", labels=["state"])
    states = Counter(model.state for model in view.models)
    for state in get_args(EngineState):
        models.add_metric([state], states[state])
    downloads = GaugeMetricFamily(
        "meshlight_local_downloads", "Downloads of models that are listed, by state.", labels=["state"]
    )
    kinds = Counter(download.state for download in view.downloads)
    for kind in get_args(DownloadState):
        downloads.add_metric([kind], kinds[kind])
    memory = view.memory
    yield models
    yield GaugeMetricFamily(
        "meshlight_local_models_bytes", "Memory that the loaded models take.", memory.models_bytes
    )
    yield GaugeMetricFamily(
        "meshlight_local_budget_bytes", "Memory that models may take in all now.", memory.budget_bytes
    )
    yield GaugeMetricFamily(
        "meshlight_local_requests_waiting",
        "Requests that wait for a model to be loaded.",
        sum(model.waiting for model in view.models),
    )
    yield downloads
