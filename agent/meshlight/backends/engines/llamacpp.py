"""llama.cpp's `llama-server`, with one model or as a router of many."""

from meshlight.backends.detail_channel import DetailChannel
from meshlight.backends.details_llamacpp import LlamaCppTeller
from meshlight.backends.engine import MODELS, Engine, ask
from meshlight.backends.kind import Asks, Channel, Face, Found, Means
from meshlight.backends.listing import Listing, read_models
from meshlight.backends.response import Reply
from meshlight.backends.retry_after import header

_SERVER = "llama.cpp"
_OWNER = "llamacpp"


class LlamaCpp(Engine):
    """It signs each answer `Server: llama.cpp`, also the 503 while loading and the 401 without the key.

    Behind a proxy that rewrites the header, the models still say `owned_by: llamacpp`.
    """

    kind = "llamacpp"
    label = "llama.cpp"
    start = "Start it (`llama-server -m MODEL.gguf`)"
    usual_ports = (8080, 9931)
    faces = frozenset[Face](
        {
            "chat/completions",
            "completions",
            "embeddings",
            "responses",
            "rerank",
            "messages",
            "messages/count_tokens",
            "audio/transcriptions",
        }
    )

    async def recognise(self, upstream: Asks) -> Found | None:
        """One GET; a server that is loading or wants a key is recognised too, without its models."""
        reply = await ask(upstream, MODELS)
        listing = read_models(reply.body) if reply.status == 200 else None
        if not _signs(reply) and (listing is None or _OWNER not in listing.owners):
            return None
        return self.found(upstream, listing.models if listing else ())

    def open(self, means: Means) -> Channel:
        """Keep what it tells of itself and its models."""
        return DetailChannel(self, LlamaCppTeller(), means)

    def is_mine(self, reply: Reply, listing: Listing) -> bool:
        """A list with models that bears neither mark is another engine's."""
        return not listing.models or _OWNER in listing.owners or _signs(reply)


def _signs(reply: Reply) -> bool:
    return header(reply.headers, b"server").lower().startswith(_SERVER)
