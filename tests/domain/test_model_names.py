from pathlib import Path

from meshlight.domain import model_names
from meshlight.domain.model_names import can_chat


def test_what_a_model_can_is_told_by_its_backends_or_else_by_its_name() -> None:
    assert can_chat("bge-m3", [("chat",)])
    assert can_chat("m", [("embeddings",), ("chat", "vision")])
    assert not can_chat("m", [("embeddings", "rerank")])
    assert can_chat("qwen3", [()])
    assert not can_chat("nomic-EMBED", [])
    assert not can_chat("gpt-image-1", [])
    assert can_chat("eclipse-7b", [])


def test_the_page_knows_the_same_names() -> None:
    choices = Path(__file__).parents[2] / "web/app/try/choices.js"
    pattern = vars(model_names)["_NO_CHAT"].pattern
    assert f"/{pattern}/i" in choices.read_text(encoding="utf-8")
