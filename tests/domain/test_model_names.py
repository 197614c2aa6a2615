from meshlight.domain.model_names import can_chat


def test_what_a_model_can_is_told_by_its_backends_or_else_by_its_name() -> None:
    assert can_chat("bge-m3", [("chat",)])
    assert can_chat("m", [("embeddings",), ("chat", "vision")])
    assert not can_chat("m", [("embeddings", "rerank")])
    assert can_chat("qwen3", [()])
    assert not can_chat("nomic-EMBED", [])
