from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from meshlight.cli.output.table import Cell, Column, lay_out
from meshlight.domain.text import cut

COLUMNS = (
    Column(title="STATE"),
    Column(title="NAME", min_width=6),
    Column(title="RING", drop=2),
    Column(title="MODELS", min_width=6, fit=cut),
    Column(title="MS", right=True, drop=1),
)


def shown(rows: list[list[str]], cells: int) -> list[str]:
    return [line.plain for line in lay_out(COLUMNS, rows, cells)]


def test_what_has_room_is_shown_whole_and_in_line() -> None:
    assert shown([["ok", "a", "lan", "x", "7"], ["down", "longer", "machine", "x, y", "1200"]], 80) == [
        "STATE  NAME    RING     MODELS    MS",
        "ok     a       lan      x          7",
        "down   longer  machine  x, y    1200",
    ]


def test_where_room_is_short_names_shrink_first_and_then_columns_go() -> None:
    row = ["ok", "a-name-with-two-ends", "machine", "model-1, model-2", "12"]
    assert shown([row], 61)[1] == "ok     a-name-with-two-ends  machine  model-1, model-2  12"
    assert shown([row], 44) == [
        "STATE  NAME         RING     MODELS       MS",
        "ok     a-nam…-ends  machine  model-1, m…  12",
    ]
    assert "RING" not in shown([row], 32)[0]
    assert "MS" in shown([row], 32)[0]
    assert "MS" not in shown([row], 22)[0]


@given(st.lists(st.tuples(*[st.text(max_size=40)] * 5).map(list), max_size=4), st.integers(8, 120))
def test_no_line_is_ever_longer_than_the_terminal(rows: list[list[str]], cells: int) -> None:
    with_colours: list[list[Cell]] = [
        [Text(row[0].replace("\n", " ")[:9], "green"), *row[1:]] for row in rows
    ]
    lines = lay_out(COLUMNS, rows, cells) + lay_out(COLUMNS, with_colours, cells)
    assert all(line.cell_len <= cells for line in lines)


def test_in_the_narrowest_terminal_two_columns_are_left() -> None:
    assert shown([["healthy", "a-name-with-two-ends", "lan", "x", "7"]], 16) == [
        "STATE    NAME",
        "healthy  a-n…nds",
    ]


def test_a_cell_with_colours_stays_as_it_is() -> None:
    line = lay_out(COLUMNS, [[Text("● ok", "green"), "a", "lan", "x", "7"]], 80)[1]
    assert line.plain.startswith("● ok ")
    assert any(span.style == "green" for span in line.spans) or line.style == "green"


def test_wide_letters_take_their_two_cells() -> None:
    lines = lay_out(COLUMNS, [["ok", "日本語", "lan", "x", "7"], ["ok", "abcdef", "lan", "x", "7"]], 80)
    assert lines[1].cell_len == lines[2].cell_len
