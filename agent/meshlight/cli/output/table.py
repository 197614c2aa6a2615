"""A table that always fits: columns give way, then names lose their middle, and no line ever wraps."""

from collections.abc import Callable, Sequence

from msgspec import Struct
from rich.text import Text

from meshlight.domain.text import sanitize, shorten, width

GAP = 2
Cell = str | Text


class Column(Struct, frozen=True, kw_only=True):
    """One column; `least` is the width to which it may shrink, `drop` the turn in which it may go."""

    title: str
    least: int | None = None
    drop: int = 0
    """0 is never; the column with the highest number goes first."""
    right: bool = False
    fit: Callable[[str, int], str] = shorten


def lay_out(columns: Sequence[Column], rows: Sequence[Sequence[Cell]], cells: int) -> list[Text]:
    """Return a line of titles and one for each row, in at most `cells` cells; strings are cleaned, Texts not."""
    said: list[list[Cell]] = [
        [cell if isinstance(cell, Text) else sanitize(cell) for cell in row] for row in rows
    ]
    natural = [max((_width(row[i]) for row in said), default=0) for i in range(len(columns))]
    natural = [max(taken, len(column.title)) for taken, column in zip(natural, columns, strict=True)]
    kept = list(range(len(columns)))
    widths = _shrink(columns, natural, kept, cells)
    for turn in sorted({column.drop for column in columns if column.drop}, reverse=True):
        if _taken(widths, kept) <= cells:
            break
        kept = [i for i in kept if columns[i].drop != turn]
        widths = _shrink(columns, natural, kept, cells)
    titles: list[Cell] = [Text(column.title, "bold") for column in columns]
    return [_line([_placed(row[i], columns[i], widths[i]) for i in kept]) for row in [titles, *said]]


def _shrink(columns: Sequence[Column], natural: list[int], kept: list[int], cells: int) -> list[int]:
    """Take from the widest column that may still shrink, cell by cell, until all fit or none may."""
    widths = list(natural)
    while _taken(widths, kept) > cells:
        least = {i: columns[i].least for i in kept}
        soft = [i for i, floor in least.items() if floor is not None and widths[i] > floor]
        if not soft:
            break
        widths[max(soft, key=lambda i: widths[i])] -= 1
    return widths


def _taken(widths: list[int], kept: list[int]) -> int:
    return sum(widths[i] for i in kept) + GAP * (len(kept) - 1)


def _width(cell: Cell) -> int:
    return cell.cell_len if isinstance(cell, Text) else width(cell)


def _placed(cell: Cell, column: Column, cells: int) -> Text:
    """Fit a cell into its column, at the side where it belongs."""
    fitted = cell if isinstance(cell, Text) else Text(column.fit(cell, cells))
    space = Text(" " * max(cells - fitted.cell_len, 0))
    return space + fitted if column.right else fitted + space


def _line(cells: Sequence[Text]) -> Text:
    line = Text(" " * GAP).join(cells)
    line.rstrip()
    line.no_wrap, line.overflow = True, "crop"
    return line
