"""Heads of answers: those made from one that was sent are what the next one would be, but for its id and length."""

import pytest

from meshlight.gateway.inference.answer_heads import answer_head, stream_head, translated_head

WHY = b"x-meshlight-why: the nearest\r\n"
ID = b"req_ab_7"
CHUNKS = b"transfer-encoding: chunked\r\n\r\n"


def whole(length: int, own_id: bytes, why: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b\r\n" % (length, own_id, why)


def chunked(own_id: bytes, why: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nx-request-id: %b\r\nrequest-id: %b\r\n%b%b" % (own_id, own_id, why, CHUNKS)


@pytest.mark.parametrize("why", [WHY, b""])
def test_the_next_head_has_its_own_length_reason_and_id(why: bytes) -> None:
    made = answer_head(whole(10, ID, why), 10, ID, why)
    assert made is not None
    first, second = made.written(2_000, b"x-meshlight-why: warm\r\n"), made.written(2_000, b"")
    own_id = first.partition(b"x-request-id: ")[2].partition(b"\r\n")[0]
    assert first == whole(2_000, own_id, b"x-meshlight-why: warm\r\n")
    assert own_id not in second
    assert own_id != ID


@pytest.mark.parametrize("why", [WHY, b""])
def test_so_has_that_of_an_answer_in_chunks(why: bytes) -> None:
    for made in (
        stream_head(chunked(ID, why), ID, why),
        translated_head(chunked(ID, why), ID, why, b"application/json"),
    ):
        assert made is not None
        head = made.written(b"")
        own_id = head.partition(b"x-request-id: ")[2].partition(b"\r\n")[0]
        assert own_id != ID
        assert head == chunked(own_id, b"")


def test_an_id_of_the_backend_is_passed_on() -> None:
    made, streamed = (
        answer_head(whole(1, b"theirs", b""), 1, b"", b""),
        stream_head(chunked(b"theirs", b""), b"", b""),
    )
    assert made is not None
    assert streamed is not None
    assert made.written(5, b"") == whole(5, b"theirs", b"")
    assert streamed.written(WHY) == chunked(b"theirs", WHY)


def test_a_head_of_another_form_makes_none() -> None:
    assert answer_head(whole(10, ID, b""), 11, ID, b"") is None
    assert answer_head(whole(10, ID, b""), 10, ID, WHY) is None
    assert stream_head(whole(10, ID, b""), ID, b"") is None
    assert translated_head(chunked(ID, b""), ID, WHY, b"application/json") is None
