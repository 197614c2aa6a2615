"""Which answers are held back while another backend may give a better one, and how they are passed on at last."""

import asyncio

import pytest

from meshlight.domain.errors import ReadError
from meshlight.gateway.inference.upstream_errors import (
    REFUSAL_LIMIT,
    has_no_such_path,
    is_refusal,
    last_headers,
    read_refusal,
)
from meshlight.http_client.reply import Headers, Reply
from meshlight.http_client.response import Response


class Line:
    """Where a response's bytes come from: nowhere, by itself."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.is_aborted = False

    def resume(self) -> None:
        pass

    def abort(self) -> None:
        self.is_aborted = True


def response(status: int, *headers: tuple[bytes, bytes]) -> Response:
    return Response(Line(), status, list(headers), reused=False, sent_at=0.0, first_byte_at=0.0)


@pytest.mark.parametrize("status", [301, 308, 401, 403, 404, 405, 408, 429, 500, 501, 502, 503, 504, 529])
async def test_it_speaks_of_the_backend(status: int) -> None:
    assert is_refusal(response(status))


@pytest.mark.parametrize("status", [200, 201, 204, 400, 402, 406, 409, 410, 413, 415, 418, 422, 451])
async def test_it_speaks_of_the_request_or_is_an_answer(status: int) -> None:
    assert not is_refusal(response(status, (b"content-type", b"application/json")))


@pytest.mark.parametrize("kind", [b"text/html", b"Text/HTML; charset=utf-8"])
async def test_a_web_page_is_no_answer(kind: bytes) -> None:
    assert is_refusal(response(200, (b"content-type", kind)))


async def test_it_is_kept_whole_and_with_its_true_length() -> None:
    answer = response(500, (b"content-type", b"text/plain"), (b"content-length", b"9"), (b"x", b"1"))
    answer.feed(b"a")
    answer.feed(b"bc")
    answer.end()
    reply, is_whole = await read_refusal(answer)
    assert is_whole
    assert reply.body == b"abc"
    assert reply.headers == ((b"content-type", b"text/plain"), (b"x", b"1"), (b"content-length", b"3"))


async def test_one_that_breaks_or_never_ends_is_not_whole() -> None:
    answer = response(500)
    answer.feed(b"half")
    answer.fail(ReadError("gone", reused=False, got_bytes=True))
    assert await read_refusal(answer) == (
        Reply(500, ((b"content-length", b"4"),), b"half", 0.0, reused=False),
        False,
    )
    answer = response(500)
    answer.feed(b"x" * (REFUSAL_LIMIT + 1))
    assert not (await read_refusal(answer))[1]


def names(headers: Headers) -> dict[bytes, bytes]:
    assert len(dict(headers)) == len(headers)
    return dict(headers)


def reply(status: int, *headers: tuple[bytes, bytes]) -> Reply:
    return Reply(status, headers, b"", 0.0, reused=False)


def test_the_clients_own_tries_end_with_ours() -> None:
    assert names(last_headers(reply(500), is_loading=False)) == {b"x-should-retry": b"false"}
    theirs = reply(503, (b"x-should-retry", b"true"), (b"retry-after", b"7"))
    assert names(last_headers(theirs, is_loading=False)) == {
        b"x-should-retry": b"false",
        b"retry-after": b"7",
    }


def test_while_a_model_loads_asking_again_helps() -> None:
    assert names(last_headers(reply(503), is_loading=True)) == {
        b"x-should-retry": b"true",
        b"retry-after": b"5",
    }
    answer = reply(503, (b"retry-after-ms", b"200"))
    assert names(last_headers(answer, is_loading=True)) == {
        b"x-should-retry": b"true",
        b"retry-after-ms": b"200",
    }


def test_how_long_to_wait_after_too_many_requests_the_backend_knows() -> None:
    theirs = reply(429, (b"x-should-retry", b"true"), (b"retry-after", b"7"))
    assert last_headers(theirs, is_loading=False) == theirs.headers


def test_lm_studio_says_with_a_200_that_it_has_no_such_path() -> None:
    assert has_no_such_path(b'{"error":"Unexpected endpoint or method. (POST /v1/messages)"}')
    assert not has_no_such_path(
        b'{"id":"msg_1","content":[{"type":"text","text":"Unexpected endpoint or method."}]}'
    )
