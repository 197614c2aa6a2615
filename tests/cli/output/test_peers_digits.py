from meshlight.cli.output.console import TerminalStyle
from meshlight.cli.output.peers import HEIGHT, large_digits


def test_ten_digits_are_ten_shapes() -> None:
    style = TerminalStyle(width=80)
    assert len({tuple(large_digits(digit, style)) for digit in "0123456789"}) == 10


def test_six_digits_stand_in_two_groups_that_fit_a_narrow_terminal() -> None:
    lines = large_digits("888888", TerminalStyle(width=80))
    assert len(lines) == HEIGHT
    assert lines[0] == "  ██████  ██████  ██████      ██████  ██████  ██████"


def test_a_terminal_without_blocks_gets_letters_that_it_has() -> None:
    assert "".join(large_digits("10", TerminalStyle(width=80, ascii_only=True))).isascii()
