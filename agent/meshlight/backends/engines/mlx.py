"""Apple's `mlx_lm.server`."""

from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends.base import (
    MODELS,
    PROBE_S,
    BackendKind,
    DetectedEngine,
    HttpClient,
    Probe,
    fetch_without_key,
)
from meshlight.backends.diagnostics import where
from meshlight.backends.large_work import in_thread_if_large
from meshlight.backends.model_list import BODY_LIMIT, Listing, read_models
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import UpstreamError
from meshlight.domain.health import Answered, Failed
from meshlight.domain.operations import Operation
from meshlight.http_client.headers import header_value
from meshlight.http_client.reply import Reply

_HEALTH = "/health"


class _Health(Struct):
    status: str


class Mlx(BackendKind):
    """A Python `BaseHTTP` server (HTTP/1.0) with a health page and a list whose items have no owner.

    The list is a scan of the disk cache and says nothing about the thread that generates, so a probe reads the health
    page first and times that. A huge prompt may keep the server silent for long: then it is busy, not down.
    """

    kind = "mlx"
    label = "MLX"
    start = "Start it (`mlx_lm.server --model MODEL`)"
    usual_ports = (8080, 8000)
    busy_grace_s = 60.0
    operations = frozenset[Operation]({"chat/completions", "completions"})

    async def detect(self, upstream: HttpClient) -> DetectedEngine | None:
        """Two GETs."""
        reply = await fetch_without_key(upstream, MODELS)
        if reply.status != 200 or not header_value(reply.headers, b"server").startswith("BaseHTTP/"):
            return None
        listing = read_models(reply.body)
        if (listing is None or not self.is_own_list(reply, listing)) and reply.body:
            return None
        if _health(await fetch_without_key(upstream, _HEALTH)) is None:
            return None
        return self.detected(upstream, listing.models if listing else ())

    async def probe(self, upstream: HttpClient, backend: Backend, secret: str | None) -> Probe:
        """Read the health page, then the models, within the time of one probe."""
        headers = self.authorize(secret)
        try:
            health = await upstream.fetch("GET", _HEALTH, headers=headers, timeout_s=PROBE_S)
            if health.status == 503 and _health(health) is not None:
                return Probe(fact=Failed(_unavailable(backend)))
            left_s = max(PROBE_S - health.elapsed_s, 0.1)
            reply = await upstream.fetch("GET", MODELS, headers=headers, timeout_s=left_s, limit=BODY_LIMIT)
        except UpstreamError as error:
            return self.failed_probe(error, backend)
        if reply.status == 200 and not reply.body:
            return Probe(fact=Failed(_no_cache(backend)))
        probe = await in_thread_if_large(len(reply.body), self.judge_list, reply, backend, secret)
        is_good = isinstance(probe.fact, Answered) and _health(health) is not None
        return replace(probe, fact=Answered(health.elapsed_s)) if is_good else probe

    def is_own_list(self, reply: Reply, listing: Listing) -> bool:  # noqa: ARG002 — the list is enough
        """Whether no item names an owner: one that does is another engine's."""
        return not listing.owners


def _health(reply: Reply) -> str | None:
    health = decode_or_none(reply.body, _Health)
    return health.status if health is not None else None


def _unavailable(backend: Backend) -> Reason:
    return Reason(
        "server-error",
        f"MLX at {where(backend)} reports that it is unavailable: its model did not load, or it has crashed.",
        "Look at its log, and restart it.",
    )


def _no_cache(backend: Backend) -> Reason:
    """Return the reason for an empty list: mlx_lm 0.32 fails in the middle of it if the cache folder is missing."""
    return Reason(
        "bad-reply",
        f"MLX at {where(backend)} sends an incomplete list of models: it has no Hugging Face cache folder.",
        "Create the folder where it runs (`mkdir -p ~/.cache/huggingface/hub`).",
    )
