"""LM Studio's local server."""

from meshlight.backends.detail_channel import DetailChannel
from meshlight.backends.details_lmstudio import LmStudioTeller
from meshlight.backends.engine import MODELS, Engine, ask
from meshlight.backends.kind import Asks, Channel, Face, Found, Means
from meshlight.backends.listing import Listing, read_models
from meshlight.backends.quote import message
from meshlight.backends.response import Reply
from meshlight.backends.retry_after import header

_NATIVE = "/api/v0/models"
_OTHER_OWNERS = frozenset({"llamacpp", "vllm", "library", "lemonade", "koboldcpp", "sglang", "humanity"})
_OTHER_SERVERS = ("llama.cpp", "basehttp/", "uvicorn")


class LmStudio(Engine):
    """It answers unknown paths with 200 and `{"error": "Unexpected endpoint or method. …"}`.

    Its list at `/v1/models` is what can be served: all that is downloaded, or, with just-in-time loading off,
    all that is loaded. The native list knows more, but not that.
    """

    kind = "lmstudio"
    label = "LM Studio"
    start = "Start its server (LM Studio → Developer → Start server, or `lms server start`)"
    usual_ports = (1234,)
    faces = frozenset[Face](
        {"chat/completions", "completions", "embeddings", "responses", "messages", "messages/count_tokens"}
    )

    async def recognise(self, upstream: Asks) -> Found | None:
        """Two GETs; the second, to its native list, only of a server that may be it."""
        reply = await ask(upstream, MODELS)
        if reply.status == 401 and "LM Studio" in message(reply):
            return self.found(upstream, ())
        listing = read_models(reply.body) if reply.status == 200 else None
        if listing is None or not self.is_mine(reply, listing):
            return None
        native = await ask(upstream, _NATIVE)
        if native.status != 200 or read_models(native.body) is None:
            return None
        return self.found(upstream, listing.models)

    def open(self, means: Means) -> Channel:
        """Keep what it tells of itself and its models."""
        return DetailChannel(self, LmStudioTeller(), means)

    def is_mine(self, reply: Reply, listing: Listing) -> bool:
        """Whether the answer bears no other engine's mark; its own has changed over time."""
        server = header(reply.headers, b"server").lower()
        return not listing.owners & _OTHER_OWNERS and not server.startswith(_OTHER_SERVERS)
