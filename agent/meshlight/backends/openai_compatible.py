"""Any server that speaks OpenAI's API: SGLang, LocalAI, TabbyAPI, a company's own."""

from meshlight.backends.engine import MODELS, Engine, ask
from meshlight.backends.kind import Asks, Found
from meshlight.backends.listing import read_models


class OpenAICompatible(Engine):
    """Given by URL; a base with a version of its own (`/api/paas/v4`) has its list at `/models` below it.

    All faces are tried there: what it has, only it knows.
    """

    kind = "openai-compatible"
    label = "OpenAI-compatible"
    start = "Start the server"

    async def recognise(self, upstream: Asks) -> Found | None:
        """One GET; on a port where engines live, an unmistakable list of models is enough."""
        reply = await ask(upstream, MODELS)
        listing = read_models(reply.body) if reply.status == 200 else None
        return self.found(upstream, listing.models) if listing and listing.is_openai else None
