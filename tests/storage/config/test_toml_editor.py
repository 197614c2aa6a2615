import copy
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshlight.storage.config.toml_editor import (
    insert_entry,
    insert_lines,
    remove_entry,
    remove_value,
    set_value,
)
from meshlight.storage.config.toml_layout import KeyPath

HAND_WRITTEN = """\
# Tom's configuration
# (do not touch)

port   = 7000   # the usual one is taken

# how requests go
[routing]
policy = "priority" # because

# the fast one
[[backends]]
url = "http://a"   # desk
priority = 1

# the big one
[[backends]]
url = "http://b"
# idle_s = 600

[routing.aliases]
"gpt-4" = "x"

# the last one
[[backends]]
  url = "http://c"

# good bye
"""

LAYOUTS = [
    HAND_WRITTEN,
    HAND_WRITTEN.rstrip("\n"),
    "",
    "# nothing but a comment",
    'routing.policy = "fastest"\nrouting.aliases.a = "b"\n',
    'routing = {policy = "fastest", aliases = {a = "b"}}\nport = 1\n',
    'backends = [\n  {url = "http://a"}, # one\n  {url = "http://b"},\n]\n[routing]\naliases = {}\n',
    "backends = []\n",
    'routing = {policy = "fastest"}\n',
    '[routing]\naliases.a = "b"\n[discovery]\n',
    '[routing.aliases]\na = "b"\n',
    '[[routing.rules]]\nmodel = "x"\n\n[[backends]]\nurl = "http://a"\n[[backends]]\nurl = "http://b"\n',
    "# opening\n[[backends]]\nurl = 'http://a'\n[backends.extra]\ndeep = 1\n# closing",
]


@pytest.mark.parametrize("text", LAYOUTS)
@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("port",), 1234),
        (("name",), 'a "b" \\ c'),
        (("routing", "policy"), "least-busy"),
        (("routing", "aliases", "gpt-4"), "y"),
        (("routing", "aliases", "new name"), "z"),
        (("discovery", "enabled"), False),
        (("discovery", "ignored"), ["http://a", "http://b"]),
    ],
)
def test_setting_a_value_sets_it_and_nothing_else(text: str, place: KeyPath, value: object) -> None:
    wanted: Any = tomllib.loads(text)
    table = wanted
    for step in place[:-1]:
        table = table.setdefault(step, {})
    table[place[-1]] = value
    new = set_value(text, place, value)
    assert tomllib.loads(new) == wanted
    assert comments(new) == comments(text)
    assert set_value(new, place, value) == new


@pytest.mark.parametrize("text", LAYOUTS)
@pytest.mark.parametrize(
    "place", [("port",), ("routing", "policy"), ("routing", "aliases", "a"), ("nothing",)]
)
def test_removing_a_value_removes_it_and_nothing_else(text: str, place: KeyPath) -> None:
    wanted: Any = tomllib.loads(text)
    table = wanted
    for step in place[:-1]:
        table = table.get(step, {})
    table.pop(place[-1], None)
    assert without_empty(tomllib.loads(remove_value(text, place))) == without_empty(wanted)


@pytest.mark.parametrize("text", LAYOUTS)
@pytest.mark.parametrize("table", [("backends",), ("routing", "rules")])
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_entries_go_in_and_out_where_they_were_meant_to(
    text: str, table: KeyPath, data: st.DataObject
) -> None:
    entries = copy.deepcopy(entries_of(text, table))
    for count in range(data.draw(st.integers(1, 4))):
        removes = bool(entries) and bool(data.draw(st.booleans()))
        if removes:
            index = data.draw(st.integers(0, len(entries) - 1))
            text, _ = remove_entry(text, table, index)
            entries.pop(index)
        else:
            index = data.draw(st.integers(0, len(entries)))
            entry = {"url": f"http://new-{count}", "model": "é"}
            text = insert_entry(text, table, index, entry)
            entries.insert(index, entry)
        assert entries_of(text, table) == entries
        tomllib.loads(text)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_an_entry_put_back_where_it_was_restores_the_file(index: int) -> None:
    text, lines = remove_entry(HAND_WRITTEN, ("backends",), index)
    assert "the fast one" not in text or index != 0
    again = insert_lines(text, ("backends",), index, lines)
    assert sorted(again.split("\n")) == sorted(HAND_WRITTEN.split("\n"))
    assert tomllib.loads(again) == tomllib.loads(HAND_WRITTEN)


def test_a_removed_entry_takes_its_own_comments_and_leaves_the_rest() -> None:
    text, _ = remove_entry(HAND_WRITTEN, ("backends",), 1)
    assert text == HAND_WRITTEN.replace(
        '# the big one\n[[backends]]\nurl = "http://b"\n# idle_s = 600\n\n', ""
    )


def test_the_comment_that_opens_the_file_stays_when_the_first_entry_goes() -> None:
    text, _ = remove_entry("# Tom's file\n[[backends]]\nurl = 'a'\n\n[routing]\n", ("backends",), 0)
    assert text == "# Tom's file\n\n[routing]\n"


def test_new_keys_stand_where_a_person_would_put_them() -> None:
    text = set_value(HAND_WRITTEN, ("require_key",), False)
    text = set_value(text, ("backends", 2, "priority"), 3)
    text = set_value(text, ("routing", "aliases", "o1"), "y")
    assert text == (
        HAND_WRITTEN.replace("is taken\n", "is taken\nrequire_key = false\n")
        .replace('  url = "http://c"\n', '  url = "http://c"\n  priority = 3\n')
        .replace('"gpt-4" = "x"\n', '"gpt-4" = "x"\no1 = "y"\n')
    )


def test_the_first_setting_stands_below_the_opening_words() -> None:
    text = "# Tom's file\n\n# my box\n[[backends]]\nurl = 'a'\n"
    assert set_value(text, ("port",), 1) == "# Tom's file\n\nport = 1\n\n# my box\n[[backends]]\nurl = 'a'\n"
    assert set_value("# Tom's file\n", ("port",), 1) == "# Tom's file\n\nport = 1\n"


def comments(text: str) -> list[str]:
    return sorted(line.partition("#")[2] for line in text.split("\n") if "#" in line)


def entries_of(text: str, table: KeyPath) -> list[Any]:
    data: Any = tomllib.loads(text)
    for step in table:
        data = data.get(step, {})
    return list(data)


def without_empty(data: dict[str, Any]) -> dict[str, Any]:
    inner = {key: without_empty(value) if isinstance(value, dict) else value for key, value in data.items()}
    return {key: value for key, value in inner.items() if value not in ({}, [])}
