"""What an alias stands for."""

import pytest

from meshlight.domain.rules import Routing, is_pattern

ROUTING = Routing(aliases={"one": "m", "several": ("m", "n"), "none": (), "claude-*": "m", "*-mini": ("n",)})


@pytest.mark.parametrize(
    ("name", "wishes", "pattern_wishes"),
    [
        ("one", ("m",), ()),
        ("several", ("m", "n"), ()),
        ("none", (), ()),
        ("claude-mini", (), ("m",)),
        ("gpt-mini", (), ("n",)),
        ("Claude-x", (), ()),
    ],
)
def test_an_alias_stands_for_one_model_or_several(
    name: str, wishes: tuple[str, ...], pattern_wishes: tuple[str, ...]
) -> None:
    assert (ROUTING.wishes(name), ROUTING.pattern_wishes(name)) == (wishes, pattern_wishes)


def test_a_pattern_has_a_wildcard() -> None:
    assert [name for name in ("a*", "?", "[ab]", "a-b.c:d/e") if is_pattern(name)] == ["a*", "?", "[ab]"]
