import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshlight.storage.config.toml_editor import (
    assignment,
    deletion,
    insertion,
    is_inline,
    line_for,
    rewritten,
)

LIST = """ignored = [
  # the noisy one
  "http://a", # on the desk
  "http://b"
] # end"""


@pytest.mark.parametrize(
    ("statement", "path", "value", "written"),
    [
        ("port = 1  # mine", ("port",), 2, "port = 2  # mine"),
        ("  'port'=1", ("port",), 2, "  'port'=2"),
        ('routing.policy = "a" # c', ("routing", "policy"), "b", 'routing.policy = "b" # c'),
        ("x = {a = 1}", ("x", "b"), {"c": [1]}, "x = {a = 1, b = {c = [1]}}"),
        ("x = [{a = 1}] # c", ("x", 0, "a"), "z", 'x = [{a = "z"}] # c'),
    ],
)
def test_a_new_value_leaves_the_comment_and_the_spaces(
    statement: str, path: tuple[str | int, ...], value: object, written: str
) -> None:
    assert rewritten(statement, assignment(path, value)) == written


def test_a_list_is_changed_by_as_little_as_it_takes() -> None:
    longer = rewritten(LIST, assignment(("ignored",), ["http://a", "http://b", "http://c"]))
    assert longer == LIST.replace('"http://b"', '"http://b",\n  "http://c"')
    shorter = rewritten(LIST, assignment(("ignored",), ["http://a"]))
    assert "# the noisy one" in shorter
    assert "# on the desk" in shorter
    assert tomllib.loads(shorter) == {"ignored": ["http://a"]}


@settings(deadline=None)
@given(st.lists(st.sampled_from("abcd")), st.lists(st.sampled_from("abcd")))
def test_a_list_becomes_what_was_asked_for(old: list[str], new: list[str]) -> None:
    statement = line_for(["x"], old)
    assert tomllib.loads(rewritten(statement, assignment(("x",), new))) == {"x": new}


def test_entries_of_an_inline_list_come_and_go() -> None:
    longer = rewritten("x = [\n  {a = 1}, # one\n]", insertion(("x",), 9, {"a": 2, "b": ["c"]}))
    assert tomllib.loads(longer) == {"x": [{"a": 1}, {"a": 2, "b": ["c"]}]}
    assert "# one" in longer
    assert tomllib.loads(rewritten(longer, deletion(("x", 0)))) == {"x": [{"a": 2, "b": ["c"]}]}


def test_dotted_keys_are_not_inline_and_braces_are() -> None:
    assert not is_inline("a.b.c = 1", ("a", "b"))
    assert is_inline("a.b = {c = 1}", ("a", "b"))
    assert is_inline("a = [{c = 1}]", ("a", 0))


@settings(deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=3),
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False)
    | st.booleans()
    | st.lists(st.text(st.characters(exclude_categories=["Cs"]))),
)
def test_what_is_written_is_read_back(path: list[str], value: object) -> None:
    wanted: object = value
    for step in reversed(path):
        wanted = {step: wanted}
    assert tomllib.loads(line_for(path, value)) == wanted
