"""The connection fed byte by byte, without a network."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from http_client.fake_connection import TinCan, drain, listen, step
from meshlight.domain.errors import ReadError, RemoteProtocolError, UpstreamError
from meshlight.http_client.connection import ONE_WRITE_MAX
from servers.byte_server import NO_BODY, OK, chunk

CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
TO_THE_END = b"HTTP/1.0 200 OK\r\n\r\n"

GOOD: dict[str, tuple[bytes, int, bytes, bool]] = {
    # what it shows: (bytes, status, body, whether the connection may be used again)
    "a length": (OK, 200, b"ok", True),
    "a length of nothing": (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    "chunks": (CHUNKED + chunk(b"he") + chunk(b"llo") + b"0\r\n\r\n", 200, b"hello", True),
    "chunk extensions": (CHUNKED + b'2;a="b;c"\r\nhi\r\n0;x\r\n\r\n', 200, b"hi", True),
    "trailers": (CHUNKED + chunk(b"hi") + b"0\r\nX-Sum: 1\r\n\r\n", 200, b"hi", True),
    "chunks in capitals": (
        b"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: Chunked \r\n\r\n0\r\n\r\n",
        200,
        b"",
        True,
    ),
    "a body up to the end": (TO_THE_END + b"all of it", 200, b"all of it", False),
    "nothing up to the end": (TO_THE_END, 200, b"", False),
    "a body up to the end in 1.1": (b"HTTP/1.1 200 OK\r\n\r\nall", 200, b"all", False),
    "1.0 with a length": (b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 200, b"ok", False),
    "1.0 kept alive": (
        b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok",
        200,
        b"ok",
        True,
    ),
    "the wish to close": (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\ncontent-length: 1\r\n\r\nx",
        200,
        b"x",
        False,
    ),
    "no reason phrase": (b"HTTP/1.1 200\r\ncontent-length: 1\r\n\r\nx", 200, b"x", True),
    "no content": (NO_BODY, 204, b"", True),
    "not modified": (b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n", 304, b"", True),
    "a 100 before": (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, 200, b"ok", True),
    "two 1xx before": (
        b"HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" + OK,
        200,
        b"ok",
        True,
    ),
    "an error": (b"HTTP/1.1 503 Busy\r\nretry-after: 3\r\ncontent-length: 1\r\n\r\nx", 503, b"x", True),
    "a second answer": (OK + b"HTTP/1.1 500 Evil\r\n\r\n", 200, b"ok", False),
    "the beginning of a second answer": (OK + b"HTT", 200, b"ok", False),
    "garbage behind": (OK + b"\x00\x01", 200, b"ok", False),
}
BAD: dict[str, tuple[bytes, type[UpstreamError]]] = {
    "nothing": (b"", ReadError),
    "half a head": (b"HTTP/1.1 200 OK\r\ncontent-le", ReadError),
    "only a 100": (b"HTTP/1.1 100 Continue\r\n\r\n", ReadError),
    "less than the length": (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nok", ReadError),
    "no last chunk": (CHUNKED + chunk(b"hi"), ReadError),
    "half a chunk": (CHUNKED + b"5\r\nhi", ReadError),
    "no end of the trailers": (CHUNKED + b"0\r\nx: y\r\n", ReadError),
    "ssh": (b"SSH-2.0-OpenSSH_9.2\r\n", RemoteProtocolError),
    "tls": (b"\x15\x03\x03\x00\x02\x02\x50", RemoteProtocolError),
    "no chunk size": (CHUNKED + b"zz\r\nhi\r\n", RemoteProtocolError),
    "too long a chunk": (CHUNKED + b"1\r\nhi\r\n", RemoteProtocolError),
    "two lengths": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nok",
        RemoteProtocolError,
    ),
    "a length and chunks": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
        RemoteProtocolError,
    ),
    "a negative length": (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", RemoteProtocolError),
    "a length beyond all numbers": (
        b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n",
        RemoteProtocolError,
    ),
    "another encoding": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nxxx", RemoteProtocolError),
    "two encodings": (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        RemoteProtocolError,
    ),
    "a switch": (b"HTTP/1.1 101 X\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", RemoteProtocolError),
    "a bare switch": (b"HTTP/1.1 101 X\r\n\r\n", RemoteProtocolError),
    "bare line feeds": (b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok", RemoteProtocolError),
    "a 103 with a body": (b"HTTP/1.1 103 X\r\ncontent-length: 2\r\n\r\nok" + OK, RemoteProtocolError),
    "a folded header": (b"HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n", RemoteProtocolError),
}


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """Cut `data` at `places`."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


@pytest.mark.parametrize("case", GOOD)
def test_an_answer_is_read_as_it_is_meant(case: str) -> None:
    raw, status, body, is_kept = GOOD[case]
    outcome = listen([raw])
    assert (outcome.status, outcome.body, outcome.error) == (status, body, None)
    assert outcome.is_kept == is_kept


@pytest.mark.parametrize("case", GOOD)
def test_an_answer_that_comes_one_byte_at_a_time_is_the_same(case: str) -> None:
    raw, status, body, _ = GOOD[case]
    outcome = listen([raw[i : i + 1] for i in range(len(raw))])
    assert (outcome.status, outcome.body, outcome.error) == (status, body, None)


@pytest.mark.parametrize("case", BAD)
def test_an_answer_that_is_none_is_told_as_such(case: str) -> None:
    raw, error = BAD[case]
    outcome = listen([raw])
    assert outcome.error is error
    assert not outcome.is_kept


@settings(deadline=None)
@given(st.sampled_from([*GOOD, *BAD]), st.lists(st.integers(0, 400), max_size=8))
def test_no_split_of_the_bytes_changes_the_answer(case: str, places: list[int]) -> None:
    raw = GOOD[case][0] if case in GOOD else BAD[case][0]
    whole, split = listen([raw]), listen(cut(raw, places))
    whole.is_kept = split.is_kept  # whether bytes behind the end have come by then is a matter of time
    assert split == whole


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=300), max_size=6),
    st.sampled_from(["length", "chunks", "end"]),
    st.lists(st.integers(0, 2000), max_size=8),
)
def test_any_body_comes_through_whole_however_it_is_framed_and_split(
    pieces: list[bytes], framing: str, places: list[int]
) -> None:
    body = b"".join(pieces)
    match framing:
        case "length":
            raw = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        case "chunks":
            raw = CHUNKED + b"".join(chunk(piece) for piece in pieces if piece) + b"0\r\n\r\n"
        case _:
            raw = TO_THE_END + body
    outcome = listen(cut(raw, places))
    assert (outcome.status, outcome.body, outcome.error) == (200, body, None)
    assert outcome.is_kept == (framing != "end")


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    st.lists(st.integers(0, 300), max_size=6),
    st.booleans(),
    st.sampled_from([b"", b"X", b"0;a=b\r\n\r\n", b"05\r\nhello\r\n0\r\n\r\n", b"A\r\n0123456789\r\n"]),
)
def test_chunks_that_are_taken_as_they_come_are_the_same_stream(
    bodies: list[bytes], places: list[int], takes: bool, odd: bytes
) -> None:
    stream = b"".join(map(chunk, bodies)) + (odd or b"0\r\n\r\n")
    can, taken = TinCan(), []
    answer = can.ask()
    can.hear(CHUNKED)
    response = answer.result()

    def take(piece: bytes, whole: bytes) -> bool:
        assert chunk(piece) == whole
        if takes:
            taken.append(response.take() + piece)
        return takes

    response.on_chunk = take
    pieces = cut(stream, places)
    can.hear(*pieces)
    can.hang_up()
    body, error = b"".join(taken), None
    try:
        for piece in drain(response):
            body += piece
    except UpstreamError as caught:
        error = type(caught)
    parsed = listen([CHUNKED, *pieces])
    assert (body, error) == (parsed.body, parsed.error)


@settings(max_examples=300, deadline=None)
@given(
    st.binary(max_size=300) | st.sampled_from([raw for raw, *_ in GOOD.values()]),
    st.binary(max_size=4),
    st.integers(0, 300),
    st.lists(st.integers(0, 400), max_size=5),
)
def test_garbage_neither_hangs_nor_raises_anything_but_the_declared_errors(
    raw: bytes, spoil: bytes, place: int, places: list[int]
) -> None:
    spoilt = raw[:place] + spoil + raw[place + len(spoil) :]
    whole, split = listen([spoilt]), listen(cut(spoilt, places))
    assert whole.error in {None, RemoteProtocolError, ReadError}
    whole.is_kept = split.is_kept
    assert split == whole


def test_headers_keep_their_order_and_lose_their_capitals_and_blanks() -> None:
    raw = b"X-A:  1 \r\nSet-Cookie: a\r\nset-cookie: b\r\nX-E: \xff\r\nContent-Length: 0\r\n\r\n"
    outcome = listen([b"HTTP/1.1 200 OK\r\n" + raw])
    assert outcome.headers == (
        (b"x-a", b"1"),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"x-e", b"\xff"),
        (b"content-length", b"0"),
    )


def test_trailers_and_the_headers_of_a_1xx_are_not_among_the_headers() -> None:
    raw = b"HTTP/1.1 103 X\r\na: 1\r\n\r\n" + CHUNKED + b"0\r\nb: 2\r\n\r\n"
    assert listen([raw]).headers == ((b"transfer-encoding", b"chunked"),)


def test_a_body_behind_the_answer_to_head_is_not_read_and_ends_the_connection() -> None:
    outcome = listen([b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"], bodiless=True)
    assert (outcome.status, outcome.body, outcome.error, outcome.is_kept) == (200, b"", None, False)


@pytest.mark.parametrize("length", [b"0", b"5"])
def test_an_answer_to_head_has_no_body_whatever_its_length_says(length: bytes) -> None:
    raw = b"HTTP/1.1 200 OK\r\ncontent-length: %s\r\n\r\n" % length
    outcome = listen([raw], bodiless=True, is_closed_after=False)
    assert (outcome.status, outcome.body, outcome.error) == (200, b"", None)


def test_no_content_with_a_length_waits_for_nothing_and_does_not_spoil_the_next_answer() -> None:
    can = TinCan()
    answer = can.ask()
    can.hear(b"HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n")
    assert list(drain(answer.result())) == []
    if can.is_kept:
        again = can.ask()
        can.hear(OK)
        assert b"".join(drain(again.result())) == b"ok"


def test_head_and_body_go_out_in_one_write() -> None:
    can = TinCan()
    can.connection.begin(b"head", b"body")
    assert can.transport.written == [b"headbody"]


def test_a_big_body_is_not_copied_behind_its_head() -> None:
    can = TinCan()
    body = b"x" * (ONE_WRITE_MAX + 1)
    can.connection.begin(b"head", body)
    assert can.transport.written == [b"head", body]


def test_a_connection_serves_one_request_after_another() -> None:
    can = TinCan()
    for place in range(3):
        answer = can.ask()
        can.hear(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % place)
        response = answer.result()
        assert response.reused == (place > 0)
        assert b"".join(drain(response)) == b"%d" % place
    assert can.told == ["opened", "began", "answered", "rested", "rested", "rested"]


def test_an_answer_that_came_whole_no_longer_holds_the_connection() -> None:
    can = TinCan()
    first = can.ask()
    can.hear(OK)
    unread = first.result()
    assert unread.is_complete
    second = can.ask()
    unread.abort()
    can.hear(OK)
    assert b"".join(drain(second.result())) == b"ok"
    assert b"".join(drain(unread)) == b"ok"


def test_a_stream_is_given_piece_by_piece_as_it_comes() -> None:
    can = TinCan()
    answer = can.ask()
    can.hear(CHUNKED)
    response = answer.result()
    can.hear(chunk(b"one"))
    assert step(response.read()) == b"one"
    can.hear(chunk(b"two"), chunk(b"three"))
    assert step(response.read()) == b"twothree"
    was_whole = response.is_complete
    can.hear(b"0\r\n\r\n")
    assert (was_whole, response.is_complete) == (False, True)
    assert step(response.read()) == b""
    assert step(response.read()) == b""
    assert can.is_kept


def test_bytes_that_nobody_asked_for_close_an_idle_connection() -> None:
    can = TinCan()
    can.ask()
    can.hear(OK)
    can.hear(b"H")
    assert can.transport.is_closed
    assert not can.connection.is_usable


def test_a_server_that_speaks_first_is_told_from_one_that_hangs_up() -> None:
    speaks, hangs_up = TinCan(), TinCan()
    speaks.hear(b"SSH-2.0-OpenSSH_9.2\r\n")
    hangs_up.hang_up()
    with pytest.raises(RemoteProtocolError, match="before any request"):
        speaks.ask()
    with pytest.raises(ReadError, match="without an answer"):
        hangs_up.ask()
