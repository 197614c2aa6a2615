import json
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from api_client.local_api import LocalApi
from meshlight.cli.settings import SETTINGS, parse_value
from meshlight.domain.errors import BadRequest
from meshlight.domain.settings_views import UpdateView
from web.fake_settings import FakeSettings

Type = Callable[..., Any]


def test_the_list_has_every_setting_with_its_value_and_fits(api: LocalApi, type_words: Type) -> None:
    view = replace(FakeSettings().view, update=UpdateView(version="0.2.0", url="https://example.com/changes"))
    api.says("GET", "/mesh/settings", view)
    said = type_words("settings")
    assert said.code == 0
    assert [line.split()[0] for line in said.lines[1 : len(SETTINGS) + 1]] == list(SETTINGS)
    values = {line.split()[0]: line.split()[1] for line in said.lines[1 : len(SETTINGS) + 1]}
    assert (values["bound"], values["folders"], values["visible"]) == ("none", "~/models", "off")
    assert max(map(len, said.lines[: len(SETTINGS) + 1])) <= 80
    assert said.lines[-1] == "Version 0.2.0 is out. https://example.com/changes"
    assert json.loads(type_words("settings", "--json").out)["name"] == "studio"


@pytest.mark.parametrize(
    ("words", "body"),
    [
        (("name", "Bo's Mac"), {"name": "Bo's Mac"}),
        (("visible", "on"), {"lan": {"visible": True}}),
        (("check_updates", "OFF"), {"check_updates": False}),
        (("bound", "lan"), {"routing": {"bound": "lan"}}),
        (("bound", "none"), {"routing": {"bound": None}}),
        (("key_storage", "file"), {"key_storage": "file"}),
        (("folders", "~/a", "/b"), {"local": {"folders": ["~/a", "/b"]}}),
        (("folders", "none"), {"local": {"folders": []}}),
    ],
)
def test_a_change_is_sent_as_the_page_sends_it(
    api: LocalApi, type_words: Type, words: tuple[str, ...], body: object
) -> None:
    api.says("PATCH", "/mesh/settings", FakeSettings().view)
    said = type_words("settings", "set", *words)
    assert said.code == 0
    assert said.out.startswith(f"{words[0]}: ")
    assert api.asked[-1].body == body


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("nam", "x"), "Did you mean name?"),
        (("visible", "maybe"), "Use on or off."),
        (("bound", "moon"), "machine, lan, company, cloud, none"),
        (("name", "a", "b"), "takes one value"),
        (("name",), "takes one value"),
    ],
)
def test_what_a_setting_can_not_be_is_refused_with_what_it_can(
    type_words: Type, words: tuple[str, ...], text: str
) -> None:
    said = type_words("settings", "set", *words)
    assert (said.code, said.out) == (1, "")
    assert text in said.err


def test_a_value_that_is_not_allowed_names_the_setting() -> None:
    with pytest.raises(BadRequest, match="policy"):
        parse_value("policy", SETTINGS["policy"], ("random",))
