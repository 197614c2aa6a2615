from hypothesis import given
from hypothesis import strategies as st

from meshlight.local_models.engines.log_ring import LINE_BYTES, LINES, LogRing, PathHider


def same(text: str) -> str:
    return text


def test_whole_lines_are_told_and_kept() -> None:
    ring, told = LogRing(), list[str]()
    ring.write(b"one\r\ntw", told.append)
    ring.write(b"o\n\n10 %\r20 %\rend", told.append)
    assert told == ["one", "two", "10 %", "20 %"]
    assert ring.lines(same) == ("one", "two", "10 %", "20 %", "end")
    assert ring.count == 4


def test_a_line_without_end_takes_no_memory() -> None:
    ring = LogRing()
    for _ in range(1000):
        ring.write(b"x" * 10_000)
    assert ring.lines(same) == ("x" * LINE_BYTES,)
    ring.write(b"\nnext\n")
    assert ring.lines(same) == ("x" * LINE_BYTES, "next")


def test_the_last_lines_stay() -> None:
    ring = LogRing()
    ring.write(b"".join(b"%d\n" % number for number in range(1000)))
    assert ring.lines(same) == tuple(map(str, range(1000 - LINES, 1000)))


def test_lines_are_clean() -> None:
    ring = LogRing()
    ring.write(b"\x1b]0;title\x07\x1b[31mred\x1b[0m \xff\xfe \xe2\x80\xae\n\x00\n")
    assert ring.lines(same) == ("red \ufffd\ufffd",)


@given(st.lists(st.binary(max_size=700), max_size=20))
def test_how_it_is_cut_into_pieces_does_not_matter(pieces: list[bytes]) -> None:
    at_once, by_piece = LogRing(), LogRing()
    at_once.write(b"".join(pieces))
    for piece in pieces:
        by_piece.write(piece)
    assert at_once.lines(same) == by_piece.lines(same)


def test_paths_and_the_key_are_hidden() -> None:
    hide = PathHider(
        ("/home/me/my models/a.gguf", "/home/me/my models", "/opt/x/llama-server", ""),
        ("/home/me", "/", ""),
        "a-key-of-many-letters",
    )
    line = "'/home/me/my models/a.gguf' in /home/me/my models/b, /home/me/.cache, a-key-of-many-letters /v1/models"
    assert hide(line) == "'a.gguf' in my models/b, ~/.cache, *** /v1/models"
    assert PathHider((), (), "")("as it is") == "as it is"
