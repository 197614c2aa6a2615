"""What LM Studio's own list tells (`GET /api/v0/models`, described at lmstudio.ai/docs/developer/rest/endpoints)."""

from meshlight.backends.detail_channel import Ask, Listed, Told
from meshlight.backends.listing import Facts, read_items
from meshlight.backends.model_facts import tokens, translated, word, words
from meshlight.domain.model import ModelDetail

NATIVE_LIST = "/api/v0/models"
_LOADED = {"loaded": True, "not-loaded": False, "loading": False}
_TYPES = {
    "llm": ("chat", "completion"),
    "vlm": ("chat", "completion", "vision"),
    "embeddings": ("embeddings",),
    "embedding": ("embeddings",),
}
_CAN = {"tool_use": ("tools",), "vision": ("vision",), "reasoning": ("thinking",)}


class LmStudioTeller:
    """One GET; it says neither its version nor how large a model is."""

    def __init__(self) -> None:
        self._items: dict[str, Facts] = {}

    async def tell(self, ask: Ask, listed: Listed) -> Told:
        """Ask for the native list; a model that is not loaded is loaded when it is asked for."""
        body = await ask(NATIVE_LIST)
        self._items = (read_items(body) if body else {}) or self._items
        details = {model: _detail(item) for model in listed.models if (item := self._items.get(model))}
        loaded = sum(detail.loaded is True for detail in details.values())
        about = {"Loaded": f"{loaded} of {len(listed.models)} models"} if details else {}
        return Told(details=details, about=about)


def _detail(item: Facts) -> ModelDetail:
    most = tokens(item.get("max_context_length"))
    can = (*translated((word(item.get("type")),), _TYPES), *translated(words(item.get("capabilities")), _CAN))
    return ModelDetail(
        context=tokens(item.get("loaded_context_length")) or most,
        loaded=_LOADED.get(word(item.get("state"))),
        quantization=word(item.get("quantization")),
        capabilities=tuple(dict.fromkeys(can)),
    )
