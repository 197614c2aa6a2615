"""What the list of apps says of models that suit none, some or all of them."""

import pytest
from msgspec.structs import replace

from domain.test_routing import mesh, node
from meshlight.domain.app_views import AppList, AppView
from meshlight.domain.backend import ModelDetail
from meshlight.domain.client_apps import APPS
from meshlight.domain.errors import ModelNotFound
from meshlight.domain.snapshot import Node
from meshlight.gateway.control.app_texts import app_list

URL, KEY = "http://127.0.0.1:6374", "ml-the-local-key"


def listed(*nodes: Node, asked: str = "") -> AppList:
    return app_list(mesh(*nodes), asked, URL, KEY, {"curl": 2.5})


def one(of: AppList, app: str) -> AppView:
    return next(view for view in of.apps if view.id == app)


def test_every_app_of_the_table_is_there_with_how_long_ago_it_called() -> None:
    found = listed(node("a", "m"))
    assert [view.id for view in found.apps] == list(APPS)
    assert (one(found, "curl").called_s, one(found, "claude").called_s) == (2.5, None)


def test_a_context_that_is_too_small_is_said() -> None:
    small = replace(node("a", "m"), details={"m": ModelDetail(context=8_192)})
    found = listed(small)
    assert one(found, "codex").note == "m has 8,192 tokens of context; Codex wants 32,768 or more."
    assert not one(found, "curl").note


def test_without_a_model_the_texts_have_a_place_for_one() -> None:
    found = listed(node("a", "bge-m3"))
    assert (found.model, found.models, found.why) == ("", (), "No model for chat is here yet.")
    assert (one(found, "codex").model, '"MODEL"' in one(found, "codex").text) == ("", True)


def test_claude_code_keeps_its_names_for_claude_models_unless_one_is_asked_for() -> None:
    here = node("a", "claude-sonnet-5-5")
    assert "ANTHROPIC_MODEL" not in one(listed(here), "claude").text
    assert "ANTHROPIC_MODEL" in one(listed(here, asked="claude-sonnet-5-5"), "claude").text


def test_a_model_that_is_not_there_is_refused() -> None:
    with pytest.raises(ModelNotFound):
        listed(node("a", "m"), asked="nope")
