"""Six digits so large that two people in front of two screens can't misread them."""

from meshlight.desktop.paper import Paper

HEIGHT = 5
_SHAPES = (
    "###,# #,# #,# #,###",
    "  #,  #,  #,  #,  #",
    "###,  #,###,#  ,###",
    "###,  #,###,  #,###",
    "# #,# #,###,  #,  #",
    "###,#  ,###,  #,###",
    "###,#  ,###,# #,###",
    "###,  #,  #,  #,  #",
    "###,# #,###,# #,###",
    "###,# #,###,  #,###",
)
"""The rows of each digit, three dots wide."""
_DOT = 2
"""Cells of the terminal for one dot: they are twice as high as wide."""


def large(digits: str, paper: Paper) -> list[str]:
    """Return the lines that draw digits in groups of three, in letters that this terminal can show."""
    ink = "#" if paper.ascii_only else "█"
    rows = [_row(digits, row).replace("#", ink).rstrip() for row in range(HEIGHT)]
    return [f"  {row}" for row in rows]


def _row(digits: str, row: int) -> str:
    drawn = ""
    for place, digit in enumerate(digits):
        gap = 0 if place == 0 else 3 if place % 3 == 0 else 1
        drawn += " " * gap * _DOT + "".join(dot * _DOT for dot in _cells(digit, row))
    return drawn


def _cells(digit: str, row: int) -> str:
    return _SHAPES[int(digit)].split(",")[row]
