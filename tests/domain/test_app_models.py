"""Which model an app is set up with."""

import pytest
from msgspec.structs import replace

from domain.test_routing import mesh, node
from meshlight.domain.app_models import chat_models, has_claude, pick_model
from meshlight.domain.backend import ModelDetail
from meshlight.domain.snapshot import Node, Snapshot

TOOLS = ("chat", "tools")


def knows(of: Node, **details: ModelDetail) -> Node:
    return replace(of, details={name.replace("_", "-"): detail for name, detail in details.items()})


def best(snapshot: Snapshot, *, context: int = 32_768, needs_tools: bool = True) -> str:
    found = pick_model(snapshot, context=context, needs_tools=needs_tools)
    assert found is not None
    return found.model


def test_tools_go_before_context_and_context_before_nearness() -> None:
    near = knows(node("near", "small", "deaf"), small=ModelDetail(context=8_192, capabilities=TOOLS))
    far = knows(node("far", "large", ring="cloud"), large=ModelDetail(context=200_000, capabilities=TOOLS))
    assert best(mesh(near, far)) == "large"
    assert best(mesh(near)) == "small"
    assert best(mesh(near, far), context=4_096) == "small"
    assert best(mesh(node("a", "deaf"), far), context=0, needs_tools=False) == "deaf"


def test_what_is_down_comes_last_and_is_said_to_be() -> None:
    down = node("down", "a-70b", state="unhealthy")
    assert best(mesh(down, node("up", "b-3b"))) == "b-3b"
    found = pick_model(mesh(down), context=0)
    assert found is not None
    assert found.why == "The best guess: no model can be used at this moment."


def test_of_the_same_kind_the_one_with_more_parameters_is_taken() -> None:
    assert best(mesh(node("a", "llama-3.2-3b", "llama-3.3-70b", "qwen3-32b"))) == "llama-3.3-70b"


def test_what_is_not_for_chat_is_left_out() -> None:
    snapshot = mesh(
        knows(
            node("a", "bge-m3", "text-embedding-3-small", "whisper-1", "odd", "named-embed-but-chats"),
            odd=ModelDetail(capabilities=("embeddings",)),
            named_embed_but_chats=ModelDetail(capabilities=("chat",)),
        )
    )
    assert chat_models(snapshot) == ("named-embed-but-chats",)
    assert pick_model(mesh(node("a", "bge-m3"))) is None


@pytest.mark.parametrize(("asked", "is_missing"), [("m", False), ("a/m", False), ("nope", True)])
def test_the_model_that_is_asked_for_is_taken(asked: str, is_missing: bool) -> None:
    found = pick_model(mesh(knows(node("a", "m"), m=ModelDetail(context=8_192))), asked, context=32_768)
    assert found is not None
    assert (found.model, found.is_missing) == (asked, is_missing)


def test_claude_models_are_known_by_their_names() -> None:
    assert has_claude(mesh(node("a", "claude-sonnet-5-5")))
    assert not has_claude(mesh(node("a", "not-claude-3")))
