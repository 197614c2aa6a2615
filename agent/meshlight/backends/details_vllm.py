"""What vLLM tells beyond the ids: the length of a context, and its version.

Its `/load` says 0 unless it was started with `--enable-server-load-tracking`, so nothing can be told by it;
`root` may be a path on its disk and is not passed on.
"""

from meshlight.backends.detail_channel import Ask, Listed, Told
from meshlight.backends.listing import read_items
from meshlight.backends.model_facts import read_facts, tokens, word
from meshlight.domain.model import ModelDetail


class VllmTeller:
    """One GET of `/version`; the rest is in the list."""

    def __init__(self) -> None:
        self._version = ""

    async def tell(self, ask: Ask, listed: Listed) -> Told:
        """Ask for the version; a model that it lists is in memory: it listens only then."""
        self._version = word(read_facts(await ask("/version")).get("version")) or self._version
        items = read_items(listed.body)
        details = {
            model: ModelDetail(context=tokens(items.get(model, {}).get("max_model_len")), loaded=True)
            for model in listed.models
        }
        return Told(details=details, about={"Version": self._version} if self._version else {})
