"""Embeddings and rerank: the numbers depend on the texts alone, so that equal texts get equal answers."""

import base64
import hashlib
import math
import struct
from typing import Any

from meshlight.simulator.http.reply import Reply, json_reply
from meshlight.simulator.profile import BadEngineRequest, EngineRequest
from meshlight.simulator.protocols.text import count_tokens, prompt_of

DIMENSIONS = 64


async def embeddings(request: EngineRequest) -> Reply:
    """Answer `POST /v1/embeddings`, as floats or base64; raises BadEngineRequest."""
    texts = inputs(request.body.get("input"))
    is_base64 = request.body.get("encoding_format") == "base64"
    await request.facts.speech.beat(0)
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if is_base64 else vector}
        for index, vector in enumerate(map(vector_of, texts))
    ]
    tokens = sum(map(count_tokens, texts))
    return json_reply(
        {
            "object": "list",
            "data": data,
            "model": request.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


async def rerank(request: EngineRequest) -> Reply:
    """Answer `POST /v1/rerank`: a document's score is the share of the query's words in it.

    Raises BadEngineRequest.
    """
    query, documents = request.body.get("query"), request.body.get("documents")
    if not isinstance(query, str) or not isinstance(documents, list):
        raise BadEngineRequest("'query' and 'documents' are required")
    await request.facts.speech.beat(0)
    texts = [prompt_of(document) for document in documents]
    scored = [{"index": i, "relevance_score": _score(query, text)} for i, text in enumerate(texts)]
    scored.sort(key=lambda result: -result["relevance_score"])
    top = request.body.get("top_n")
    tokens = sum(map(count_tokens, [query, *texts]))
    return json_reply(
        {
            "object": "list",
            "model": request.model,
            "results": scored[:top] if isinstance(top, int) else scored,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def inputs(given: Any) -> list[str]:
    """Return the texts to embed: one, several, or lists of token ids; raises BadEngineRequest."""
    match given:
        case str():
            return [given]
        case [int(), *_]:
            return [" ".join(map(str, given))]
        case [_, *_]:
            return [text if isinstance(text, str) else " ".join(inputs(text)) for text in given]
        case _:
            raise BadEngineRequest("'input' is required")


def vector_of(text: str) -> list[float]:
    """Return a vector of length 1 that depends on `text` alone."""
    noise = hashlib.shake_128(text.encode("utf-8", "replace")).digest(DIMENSIONS)
    raw = [byte - 127.5 for byte in noise]
    norm = math.sqrt(sum(value * value for value in raw))
    return [round(value / norm, 6) for value in raw]


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")


def _score(query: str, text: str) -> float:
    wanted, there = set(query.lower().split()), set(text.lower().split())
    return round(len(wanted & there) / len(wanted), 4) if wanted else 0.0
