import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshlight.desktop.tray.dbus.menu import ROOT, MenuTree
from meshlight.desktop.tray.menu_items import Action, Item


def item(key: str, text: str = "", *items: Item, checked: bool | None = None) -> Item:
    return Item(key=key, text=text or key, action=Action("refresh"), items=items, checked=checked)


def labels(tree: MenuTree, number: int = ROOT) -> list[object]:
    """The menu as a person sees it: labels, with what is under them."""
    return [
        (tree.lines[child].properties.get("label"), labels(tree, child))
        for child in tree.lines[number].children
    ]


def number_of(tree: MenuTree, label: str) -> int:
    return next(n for n, line in tree.lines.items() if line.properties.get("label") == label)


def test_a_line_that_stays_keeps_its_number() -> None:
    tree = MenuTree()
    tree.replace((item("a"), item("b")))
    before = number_of(tree, "b")
    tree.replace((item("new"), item("b", "B now")))
    assert number_of(tree, "B now") == before


def test_a_number_is_never_given_to_another_line() -> None:
    tree = MenuTree()
    tree.replace((item("a"),))
    gone = number_of(tree, "a")
    tree.replace((item("b"),))
    tree.replace((item("a"),))
    assert gone not in tree.lines


def test_another_label_is_no_other_layout() -> None:
    tree = MenuTree()
    tree.replace((item("a", "Refresh now"), item("b")))
    revision = tree.revision
    change = tree.replace((item("a", "Refreshing… 1/2"), item("b")))
    assert not change.is_layout
    assert change.updated == {number_of(tree, "Refreshing… 1/2"): {"label": "Refreshing… 1/2"}}
    assert tree.revision == revision


def test_what_falls_back_to_its_default_is_told_as_removed() -> None:
    tree = MenuTree()
    tree.replace((Item(key="a", text="a"),))
    change = tree.replace((item("a"),))
    assert change.removed == {number_of(tree, "a"): ["enabled"]}


def test_a_line_more_is_another_layout() -> None:
    tree = MenuTree()
    tree.replace((item("a"),))
    revision = tree.revision
    assert tree.replace((item("a", "", item("under")),)).is_layout
    assert tree.revision == revision + 1


def test_two_lines_that_swap_places_are_another_layout() -> None:
    tree = MenuTree()
    tree.replace((item("a"), item("b")))
    assert tree.replace((item("b"), item("a"))).is_layout


def test_the_same_menu_changes_nothing() -> None:
    tree = MenuTree()
    tree.replace((item("a"), Item(key="s", is_separator=True)))
    change = tree.replace((item("a"), Item(key="s", is_separator=True)))
    assert (change.is_layout, change.updated, change.removed) == (False, {}, {})


def test_a_checkbox_a_separator_and_a_dead_line_are_said_in_the_protocol_s_words() -> None:
    tree = MenuTree()
    tree.replace((item("a", checked=True), Item(key="s", is_separator=True), Item(key="d", text="d")))
    assert [tree.lines[n].properties for n in tree.lines[ROOT].children] == [
        {"label": "a", "toggle-type": "checkmark", "toggle-state": 1},
        {"type": "separator"},
        {"label": "d", "enabled": False},
    ]


def test_an_underscore_in_a_name_underlines_nothing() -> None:
    tree = MenuTree()
    tree.replace((item("a", "my_model_q4"),))
    assert tree.lines[1].properties["label"] == "my__model__q4"


def test_two_lines_of_one_key_are_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="same key"):
        MenuTree().replace((item("a"), item("a")))


TREES = st.recursive(
    st.just(()),
    lambda below: st.dictionaries(
        st.sampled_from("abcd"), st.tuples(st.sampled_from("xyz"), st.booleans(), below), max_size=4
    ).map(lambda lines: tuple(item(k, text, *under) for k, (text, _, under) in lines.items())),
    max_leaves=8,
)


@given(st.lists(TREES, max_size=4))
def test_however_it_changes_the_tree_shows_the_last_menu_and_tells_every_difference(
    menus: list[tuple[Item, ...]],
) -> None:
    def shown(items: tuple[Item, ...]) -> list[object]:
        return [(one.text, shown(one.items)) for one in items]

    tree = MenuTree()
    known = {number: dict(line.properties) for number, line in tree.lines.items()}
    for items in menus:
        change = tree.replace(items)
        assert labels(tree) == shown(items)
        if change.is_layout:
            known = {n: known.get(n, dict(line.properties)) for n, line in tree.lines.items()}
        for number, values in change.updated.items():
            known[number] |= values
        for number, names in change.removed.items():
            for name in names:
                del known[number][name]
        assert known == {number: line.properties for number, line in tree.lines.items()}
