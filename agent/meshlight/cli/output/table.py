"""A table that always fits the terminal: columns shrink or are left out, at last from the right, and none wraps."""

from collections.abc import Callable, Sequence

from msgspec import Struct
from rich.text import Text

from meshlight.domain.text import sanitize, shorten, width

GAP = 2
LEAST = 2
"""So many columns stay in the narrowest terminal, and shrink there as far as they must."""
Cell = str | Text


class Column(Struct, frozen=True, kw_only=True):
    """One column; `min_width` is the width to which it may shrink (None: it doesn't shrink)."""

    title: str
    min_width: int | None = None
    drop: int = 0
    """When to leave the column out: the highest number goes first, and 0 only where nothing else helps."""
    right: bool = False
    fit: Callable[[str, int], str] = shorten


def lay_out(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], cells: int) -> list[Text]:
    """Return a line of titles and one for each row, at most `cells` wide; strings are sanitized, Texts are not."""
    cleaned: list[list[Cell]] = [
        [cell if isinstance(cell, Text) else sanitize(cell) for cell in row] for row in rows
    ]
    natural = [max((_width(row[i]) for row in cleaned), default=0) for i in range(len(columns))]
    natural = [max(used, len(column.title)) for used, column in zip(natural, columns, strict=True)]
    visible = list(range(len(columns)))
    widths = _shrink(columns, natural, visible, cells)
    for order in sorted({column.drop for column in columns if column.drop}, reverse=True):
        if _total_width(widths, visible) <= cells:
            break
        visible = [i for i in visible if columns[i].drop != order]
        widths = _shrink(columns, natural, visible, cells)
    while _total_width(widths, visible) > cells and len(visible) > LEAST:
        visible.pop()
        widths = _shrink(columns, natural, visible, cells)
    if _total_width(widths, visible) > cells:
        widths = _shrink([Column(title=one.title, min_width=1) for one in columns], natural, visible, cells)
    titles: list[Cell] = [Text(column.title, "bold") for column in columns]
    return [_line([_aligned(row[i], columns[i], widths[i]) for i in visible]) for row in [titles, *cleaned]]


def _shrink(columns: Sequence[Column], natural: list[int], visible: list[int], cells: int) -> list[int]:
    """Shrink the widest column that still may, cell by cell, until all columns fit or none may shrink."""
    widths = list(natural)
    while _total_width(widths, visible) > cells:
        min_width = {i: columns[i].min_width for i in visible}
        soft = [i for i, floor in min_width.items() if floor is not None and widths[i] > floor]
        if not soft:
            break
        widths[max(soft, key=lambda i: widths[i])] -= 1
    return widths


def _total_width(widths: list[int], visible: list[int]) -> int:
    return sum(widths[i] for i in visible) + GAP * (len(visible) - 1)


def _width(cell: Cell) -> int:
    return cell.cell_len if isinstance(cell, Text) else width(cell)


def _aligned(cell: Cell, column: Column, cells: int) -> Text:
    """Fit a cell into its column, aligned left or right."""
    fitted = cell.copy() if isinstance(cell, Text) else Text(column.fit(cell, cells))
    fitted.truncate(cells, overflow="ellipsis")
    space = Text(" " * max(cells - fitted.cell_len, 0))
    return space + fitted if column.right else fitted + space


def _line(cells: Sequence[Text]) -> Text:
    line = Text(" " * GAP).join(cells)
    line.rstrip()
    line.no_wrap, line.overflow = True, "crop"
    return line
