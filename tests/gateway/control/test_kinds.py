"""Which kinds there are, as the page and other programs read it."""

from pathlib import Path

import pytest

from meshlight.backends.base import NOT_ADDED
from meshlight.backends.kinds import KINDS
from meshlight.gateway.control.kinds import kind_view
from meshlight.mesh.backend_form import BackendDraft
from meshlight.simulator.engine import SimulatedEngine
from node import Node

DIALOG = {"url", "api_key", "access_key", "ca_file", "follow_clock", "proxy", "models"}


async def test_every_kind_is_listed_with_its_fields(tmp_path: Path) -> None:
    async with SimulatedEngine("llamacpp", "study") as engine, Node(tmp_path, [engine]) as node:
        listed = (await node.http.get("/mesh/kinds")).json()["kinds"]
    assert [kind["kind"] for kind in listed] == list(KINDS)
    ollama = next(kind for kind in listed if kind["kind"] == "ollama")
    assert (ollama["label"], ollama["group"], ollama["port"], ollama["ring"], ollama["default_url"]) == (
        "Ollama",
        "engine",
        11434,
        None,
        "",
    )
    assert ollama["fields"][0] == {
        "name": "url",
        "label": "Address",
        "required": True,
        "placeholder": "http://127.0.0.1:11434",
    }


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)
def test_a_kind_asks_only_for_what_a_request_can_say_and_says_which_of_it_is_secret(kind: object) -> None:
    view = kind_view(kind)  # type: ignore[arg-type]
    names = [field.name for field in view.fields]
    assert set(names) <= set(BackendDraft.__struct_fields__) & DIALOG
    assert len(names) == len(set(names))
    assert [field.name for field in view.fields if field.is_secret] in ([], ["api_key"])
    assert view.label
    if view.group in NOT_ADDED:
        assert not names, "it is paired, or there by itself"
    else:
        assert "url" in names or view.default_url
