"""Size and abilities of a simulated model, read from its name: `gemma3:4b` has 4 billion parameters and vision."""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

_SIZE = re.compile(r"(?<![\w.])(\d{1,4}(?:\.\d)?)b(?![a-z])", re.IGNORECASE)
_BILLION = 1_000_000_000
_BYTES_PER_PARAMETER = 0.62
"""In the quantization `Q4_K_M`, embeddings included."""
_USUAL = 3.2
_EMBEDDING = 0.137
_SIGHTED = ("gemma3", "vl", "llava")


class ModelTraits(Struct, frozen=True):
    """Size and abilities of a model."""

    billions: float
    embeds: bool
    sees: bool

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return round(self.billions * _BILLION)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return round(self.parameters * _BYTES_PER_PARAMETER)

    @property
    def size_text(self) -> str:
        """The size as Ollama writes it: `3.2B`, `137M`."""
        return f"{self.billions:.1f}B" if self.billions >= 1 else f"{self.billions * 1000:.0f}M"

    @property
    def capabilities(self) -> tuple[str, ...]:
        """The abilities, by Ollama's names."""
        if self.embeds:
            return ("embedding",)
        return ("completion", "vision") if self.sees else ("completion", "tools")


def traits(model: str) -> ModelTraits:
    """Return the traits of a model of this name."""
    embeds = "embed" in model
    found = _SIZE.search(model)
    billions = float(found[1]) if found else _EMBEDDING if embeds else _USUAL
    return ModelTraits(billions, embeds, any(mark in model.lower() for mark in _SIGHTED))


def ollama_details(model: str) -> Mapping[str, Any]:
    """Return the `details` of a model as Ollama gives them."""
    family = re.match(r"[a-z]*", model.rpartition("/")[2].lower())
    name = family[0] if family and family[0] else "llama"
    return {
        "parent_model": "",
        "format": "gguf",
        "family": name,
        "families": [name],
        "parameter_size": traits(model).size_text,
        "quantization_level": "F16" if traits(model).embeds else "Q4_K_M",
    }
