"""Apple's `mlx_lm.server`."""

from msgspec import Struct
from msgspec.structs import replace

from meshlight.backends.base import MODELS, PROBE_S, DetectedEngine, Engine, HttpClient, Probe, ask
from meshlight.backends.diagnostics import where
from meshlight.backends.large_work import in_thread_if_large
from meshlight.backends.model_list import BODY_LIMIT, Listing, read_models
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.decoding import decode_or_none
from meshlight.domain.errors import UpstreamError
from meshlight.domain.health import Answered, Failed
from meshlight.domain.operations import Operation
from meshlight.http_client.headers import header_value
from meshlight.http_client.response import Reply

_HEALTH = "/health"


class _Health(Struct):
    status: str


class Mlx(Engine):
    """It is a Python `BaseHTTP` server (HTTP/1.0) with a health page and a list whose items have no owner.

    The list is a scan of the disk cache and says nothing of the thread that generates, so a probe asks the
    health page first and times that. A huge prompt may keep it silent for long: then it is busy, not down.
    """

    kind = "mlx"
    label = "MLX"
    start = "Start it (`mlx_lm.server --model MODEL`)"
    usual_ports = (8080, 8000)
    patience_s = 60.0
    operations = frozenset[Operation]({"chat/completions", "completions"})

    async def recognise(self, upstream: HttpClient) -> DetectedEngine | None:
        """Two GETs."""
        reply = await ask(upstream, MODELS)
        if reply.status != 200 or not header_value(reply.headers, b"server").startswith("BaseHTTP/"):
            return None
        listing = read_models(reply.body)
        if (listing is None or not self.is_mine(reply, listing)) and reply.body:
            return None
        if _health(await ask(upstream, _HEALTH)) is None:
            return None
        return self.found(upstream, listing.models if listing else ())

    async def probe(self, upstream: HttpClient, backend: Backend, secret: str | None) -> Probe:
        """Ask for the health, then for the models, within the time of one probe."""
        headers = self.authorize(secret)
        try:
            health = await upstream.fetch("GET", _HEALTH, headers=headers, timeout_s=PROBE_S)
            if health.status == 503 and _health(health) is not None:
                return Probe(fact=Failed(_dead(backend)))
            left_s = max(PROBE_S - health.elapsed_s, 0.1)
            reply = await upstream.fetch("GET", MODELS, headers=headers, timeout_s=left_s, limit=BODY_LIMIT)
        except UpstreamError as error:
            return self.missed(error, backend)
        if reply.status == 200 and not reply.body:
            return Probe(fact=Failed(_no_cache(backend)))
        probe = await in_thread_if_large(len(reply.body), self.judge, reply, backend, secret)
        is_good = isinstance(probe.fact, Answered) and _health(health) is not None
        return replace(probe, fact=Answered(health.elapsed_s)) if is_good else probe

    def is_mine(self, reply: Reply, listing: Listing) -> bool:  # noqa: ARG002 — the list alone tells
        """A list whose items name an owner is another engine's."""
        return not listing.owners


def _health(reply: Reply) -> str | None:
    health = decode_or_none(reply.body, _Health)
    return health.status if health is not None else None


def _dead(backend: Backend) -> Reason:
    return Reason(
        "server-error",
        f"MLX at {where(backend)} says that it is unavailable: its model did not load, or it has crashed.",
        "Look at its log, and restart it.",
    )


def _no_cache(backend: Backend) -> Reason:
    """mlx_lm 0.32 dies in the middle of the list when the Hugging Face cache was never made."""
    return Reason(
        "bad-reply",
        f"MLX at {where(backend)} breaks off its list of models: it has no Hugging Face cache folder.",
        "Make the folder where it runs (`mkdir -p ~/.cache/huggingface/hub`).",
    )
