"""Heads that are known: what is read is the same as what the parser reads."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from http_client.fake_connection import listen
from http_client.test_connection import BAD, GOOD, cut
from meshlight.http_client.known_heads import KnownHeads

HEADS = [
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nX-Length: 1\r\ncontent-length: 1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: 12\r\nx-a:  b \r\n\r\nhello, world",
    b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\nproxy-connection: close\r\ncontent-length: 1\r\n\r\nx",
    b"HTTP/1.1 201 Made\r\ncontent-length: 1\r\n\r\nx",
    b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 1\r\n\r\nx",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\nConnection: Keep-Alive\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx: a\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n1\r\na\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nx: b\r\ntransfer-encoding: chunked\r\ntrailer: t\r\n\r\n1\r\na\r\n0\r\nt: 1\r\n\r\n",
    b"HTTP/1.1 201 Made\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
]


@pytest.mark.parametrize("head", HEADS)
def test_the_same_answer_again_is_read_the_same(head: bytes) -> None:
    heads = KnownHeads()
    assert listen([head], heads=heads) == listen([head], heads=heads) == listen([head])


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([*HEADS, *(raw for raw, *_ in GOOD.values()), *(raw for raw, _ in BAD.values())]),
    st.tuples(st.integers(0, 100), st.binary(max_size=3)),
    st.lists(st.integers(0, 400), max_size=4),
    st.booleans(),
)
def test_a_known_head_changes_nothing_of_what_is_read(
    raw: bytes, spoil: tuple[int, bytes], places: list[int], bodiless: bool
) -> None:
    heads = KnownHeads()
    for head in HEADS:
        listen([head], heads=heads)
    place, wrong = spoil
    pieces = cut(raw[:place] + wrong + raw[place + len(wrong) :], places)
    known, parsed = listen(pieces, heads=heads, bodiless=bodiless), listen(pieces, bodiless=bodiless)
    if b"".join(pieces).endswith((b"\r", b"\n")):  # the parser lets line breaks behind an answer pass
        parsed.is_kept = parsed.is_kept and known.is_kept
    assert known == parsed


def test_only_heads_that_come_again_are_remembered() -> None:
    heads = KnownHeads()
    for number in range(100):
        listen([b"HTTP/1.1 200 OK\r\nx-id: %d\r\ncontent-length: 1\r\n\r\nx" % number], heads=heads)
    assert heads.find(b"HTTP/1.1 200 OK\r\nx-id: 0\r\ncontent-length: 9\r\n\r\n") is not None
    assert heads.find(b"HTTP/1.1 200 OK\r\nx-id: 90\r\ncontent-length: 9\r\n\r\n") is None
