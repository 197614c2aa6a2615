"""What an engine tells of one of its models, beyond the id."""

from msgspec import Struct


class ModelDetail(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Only what the engine itself says is here; what it does not say is left out, never guessed."""

    context: int | None = None
    """How many tokens a prompt and its answer may have together."""
    loaded: bool | None = None
    """Whether it lies in memory now, so that an answer need not wait for it."""
    quantization: str = ""
    """As the engine calls it, such as `Q4_K_M`."""
    parameters: str = ""
    """The size in words, such as `7B`."""
    capabilities: tuple[str, ...] = ()
    """Out of: chat, completion, embeddings, rerank, vision, audio, tools, thinking, image, speech, transcription."""
