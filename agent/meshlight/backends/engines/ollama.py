"""Ollama."""

from meshlight.backends.detail_channel import DetailChannel
from meshlight.backends.details_ollama import OllamaTeller
from meshlight.backends.engine import Engine, ask
from meshlight.backends.kind import OLLAMA_FACES, Asks, Channel, Face, Found, Means
from meshlight.backends.listing import Listing, read_tags
from meshlight.backends.version import version_of

_TAGS = "/api/tags"
_GREETING = b"Ollama is running"


class Ollama(Engine):
    """Its own list (`/api/tags`) is asked rather than `/v1/models`: nobody else answers there."""

    kind = "ollama"
    label = "Ollama"
    start = "Start Ollama (`ollama serve`)"
    usual_ports = (11434,)
    list_path = _TAGS
    faces = frozenset[Face](
        {
            "chat/completions",
            "completions",
            "embeddings",
            "responses",
            "messages",
            "images/generations",
            "audio/speech",
            "audio/transcriptions",
            *OLLAMA_FACES,
        }
    )

    async def recognise(self, upstream: Asks) -> Found | None:
        """A GET of the front page tells strangers apart; only Ollama is asked for version and models."""
        front = await ask(upstream, "/")
        if front.status != 200 or not front.body.lstrip().startswith(_GREETING):
            return None
        if version_of(await ask(upstream, "/api/version")) is None:
            return None
        reply = await ask(upstream, _TAGS)
        listing = read_tags(reply.body) if reply.status == 200 else None
        return self.found(upstream, listing.models if listing else ())

    def open(self, means: Means) -> Channel:
        """Keep what it tells of itself and its models."""
        return DetailChannel(self, OllamaTeller(), means)

    def read(self, body: bytes) -> Listing | None:
        """Read `/api/tags`."""
        return read_tags(body)
