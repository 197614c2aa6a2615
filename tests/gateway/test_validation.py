"""Whatever a body has wrong is message in words that show the place."""

from collections.abc import Mapping
from typing import Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Struct, UnsetType

from meshlight.domain.errors import BadRequest
from meshlight.gateway.validation import LONGEST, malformed_json, validation_error


class Leaf(Struct, forbid_unknown_fields=True):
    colour: Literal["red", "green"] | None = None


class Tree(Struct, forbid_unknown_fields=True):
    name: str
    leaf: Leaf | UnsetType = UNSET
    leaves: tuple[Leaf, ...] = ()
    nests: Mapping[str, int] = {}
    height_m: int | float = 0


def reply(body: bytes) -> BadRequest:
    try:
        msgspec.json.decode(body, type=Tree)
    except msgspec.ValidationError as error:
        return validation_error(error, Tree)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return malformed_json(error)
    raise AssertionError("nothing is wrong with it")


@pytest.mark.parametrize(
    ("body", "param", "title", "hint"),
    [
        (b"{}", "name", "name is missing.", ""),
        (b'{"name": 1}', "name", "name must be text, not a whole number.", ""),
        (b'{"name": null}', "name", "name must be text, not null.", ""),
        (b'{"nmae": "x"}', "nmae", "nmae is not known here.", "Did you mean name?"),
        (b'{"q": "x"}', "q", "q is not known here.", "Known: name, leaf, leaves, nests, height_m."),
        (
            b'{"name": "x", "leaf": {"colour": "blue"}}',
            "leaf.colour",
            "leaf.colour: Invalid enum value 'blue'.",
            "Use one of green, red.",
        ),
        (
            b'{"name": "x", "leaves": [{}, {"colour": 7}]}',
            "leaves[1].colour",
            "leaves[1].colour must be text or null, not a whole number.",
            "Use one of green, red.",
        ),
        (
            b'{"name": "x", "leaves": [{"color": "red"}]}',
            "leaves[0].color",
            "leaves[0].color is not known here.",
            "Did you mean colour?",
        ),
        (
            b'{"name": "x", "nests": {"a": "b"}}',
            "nests[...]",
            "nests[...] must be a whole number, not text.",
            "",
        ),
        (
            b'{"name": "x", "height_m": true}',
            "height_m",
            "height_m must be a whole number or a number, not true or false.",
            "",
        ),
        (b"[]", None, "The body must be an object, not a list.", ""),
        (b"{", None, "The body is not JSON: it ends too early.", "Send one JSON object."),
        (b'{"name": "\xff"}', None, "The body is not JSON: it is not in UTF-8.", "Send one JSON object."),
    ],
)
def test_the_place_the_mistake_and_what_would_be_right(
    body: bytes, param: str | None, title: str, hint: str
) -> None:
    error = reply(body)
    assert (error.param, error.title, error.hint) == (param, title, hint)


def test_what_came_is_not_repeated_at_length() -> None:
    for body in (
        b'{"%b": 1}' % (b"x" * 10_000),
        b'{"name": "x", "leaf": {"colour": "%b"}}' % (b"y" * 10_000),
    ):
        assert len(reply(body).title) < LONGEST + 50


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_no_body_is_too_strange_to_be_told_about(value: object) -> None:
    try:
        body = msgspec.json.encode({"name": value, "leaf": value, "leaves": [value]})
    except (OverflowError, UnicodeEncodeError):
        return
    error = reply(body)
    assert error.title.endswith(".")
