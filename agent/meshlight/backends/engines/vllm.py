"""vLLM's OpenAI server."""

from meshlight.backends.detail_channel import DetailChannel
from meshlight.backends.details_vllm import VllmTeller
from meshlight.backends.engine import MODELS, Engine, ask
from meshlight.backends.kind import Asks, Channel, Face, Found, Means
from meshlight.backends.listing import Listing, read_models
from meshlight.backends.quote import message
from meshlight.backends.response import Reply
from meshlight.backends.version import version_of

_OWNER = "vllm"


class Vllm(Engine):
    """Its models say `owned_by: vllm`, as do some wrappers' that borrowed the word: `/version` confirms it.

    It listens only when its model is loaded, so it never warms up visibly.
    """

    kind = "vllm"
    label = "vLLM"
    start = "Start it (`vllm serve MODEL`)"
    usual_ports = (8000,)
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
            "audio/translations",
        }
    )

    async def recognise(self, upstream: Asks) -> Found | None:
        """Two GETs; with `--api-key` the list is refused, but its 401 and the open version page tell."""
        reply = await ask(upstream, MODELS)
        listing = read_models(reply.body) if reply.status == 200 else None
        wants_key = reply.status == 401 and message(reply) == "Unauthorized"
        if not wants_key and (listing is None or _OWNER not in listing.owners):
            return None
        if version_of(await ask(upstream, "/version")) is None:
            return None
        return self.found(upstream, listing.models if listing else ())

    def open(self, means: Means) -> Channel:
        """Keep what it tells of itself and its models."""
        return DetailChannel(self, VllmTeller(), means)

    def is_mine(self, reply: Reply, listing: Listing) -> bool:  # noqa: ARG002 — the list alone tells
        """A list with models of which none is vLLM's is another engine's."""
        return not listing.models or _OWNER in listing.owners
