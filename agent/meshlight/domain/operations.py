"""The inference operations of the protocols that the gateway speaks, and the paths where clients find them."""

from typing import Final, Literal, get_args

OpenAIOperation = Literal[
    "chat/completions",
    "completions",
    "embeddings",
    "responses",
    "rerank",
    "images/generations",
    "images/edits",
    "images/variations",
    "audio/speech",
    "audio/transcriptions",
    "audio/translations",
]
AnthropicOperation = Literal["messages", "messages/count_tokens"]
OllamaOperation = Literal["api/chat", "api/generate", "api/embed", "api/embeddings"]
GeminiOperation = Literal[
    "gemini/generateContent",
    "gemini/streamGenerateContent",
    "gemini/countTokens",
    "gemini/embedContent",
    "gemini/batchEmbedContents",
]
OtherOperation = Literal["other"]
"""A path below `/v1` that is not known here: the request's own path is used."""
Operation = OpenAIOperation | AnthropicOperation | OllamaOperation | GeminiOperation | OtherOperation
"""One operation of one protocol; each inference request is a POST to one of them."""

OPENAI_OPERATIONS: Final[tuple[Operation, ...]] = get_args(OpenAIOperation)
"""Each is its path below `/v1`."""
ANTHROPIC_OPERATIONS: Final[tuple[Operation, ...]] = get_args(AnthropicOperation)
"""These too are paths below `/v1`."""
OLLAMA_OPERATIONS: Final[tuple[Operation, ...]] = get_args(OllamaOperation)
"""Each is its whole path, without the leading slash."""
GEMINI_OPERATIONS: Final[tuple[Operation, ...]] = get_args(GeminiOperation)
"""Posted to `/v1beta/models/MODEL:` followed by the word after the slash."""
OPERATIONS: Final[tuple[Operation, ...]] = (*OPENAI_OPERATIONS, *ANTHROPIC_OPERATIONS)
"""The operations below `/v1`."""


def path_of(operation: Operation) -> str:
    """Return the path of an operation, for people."""
    if operation.startswith("gemini/"):
        return f"/v1beta/models/MODEL:{operation.removeprefix('gemini/')}"
    return f"/{operation}" if operation.startswith("api/") else f"/v1/{operation}"
