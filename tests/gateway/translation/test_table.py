"""Every operation that is said to be translatable is translated, by what is imported for it."""

import msgspec
import pytest

from meshlight.backends.kinds import KINDS
from meshlight.domain.backend import Kind
from meshlight.domain.operations import Operation
from meshlight.gateway.translation.base import TranslatedRequest
from meshlight.gateway.translation.table import is_reachable, is_translatable, translate

TURNS = [{"role": "user", "content": "hi"}]
BODIES: dict[Operation, tuple[Operation, dict[str, object]]] = {
    "messages": ("chat/completions", {"max_tokens": 5, "messages": TURNS}),
    "messages/count_tokens": ("chat/completions", {"messages": TURNS}),
    "responses": ("chat/completions", {"input": "hi"}),
    "api/chat": ("chat/completions", {"messages": TURNS}),
    "api/generate": ("chat/completions", {"prompt": "hi"}),
    "api/embed": ("embeddings", {"input": "hi"}),
    "api/embeddings": ("embeddings", {"prompt": "hi"}),
}


@pytest.mark.parametrize("operation", BODIES)
def test_a_request_is_translated_to_what_the_backend_has(operation: Operation) -> None:
    to, fields = BODIES[operation]
    made = translate(operation, msgspec.json.encode({"model": "asked"} | fields), "sent", KINDS["mlx"])
    assert isinstance(made, TranslatedRequest)
    assert (made.operation, msgspec.json.decode(made.body)["model"]) == (to, "sent")
    assert is_translatable(operation)
    assert is_reachable(operation, KINDS["openai-compatible"])


@pytest.mark.parametrize(("operation", "kind"), [("rerank", "mlx"), ("messages/count_tokens", "openai")])
def test_what_no_translation_leads_to_is_out_of_reach(operation: Operation, kind: Kind) -> None:
    assert not is_reachable(operation, KINDS[kind])
