"""How each model counts tokens, learned from its answers; kept in memory only."""

from meshlight.domain.prompt_size import Calibration

MODELS_MAX = 1_000


class PromptSizes:
    """The calibration of each model whose answers said how long their prompts were."""

    __slots__ = ("_models",)

    def __init__(self) -> None:
        self._models: dict[str, Calibration] = {}

    def tokens(self, model: str, estimated: int) -> int:
        """Return how many tokens a model is expected to count."""
        known = self._models.get(model)
        return estimated if known is None else known.tokens(estimated)

    def learn(self, model: str, estimated: int, counted: int) -> None:
        """Take in what an answer of a model said."""
        known = self._models.get(model)
        if known is None:
            if len(self._models) >= MODELS_MAX:
                del self._models[next(iter(self._models))]
            known = self._models[model] = Calibration()
        known.learn(estimated, counted)

    def __len__(self) -> int:
        return len(self._models)
