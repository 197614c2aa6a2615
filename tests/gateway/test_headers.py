"""Credentials and hop-by-hop headers end at the gateway, in both directions."""

from meshlight.gateway.headers import is_page, request_id, to_backend, to_client


def test_the_callers_credentials_never_reach_a_backend() -> None:
    sent = to_backend(
        [
            (b"authorization", b"Bearer ml-local"),
            (b"x-api-key", b"ml-local"),
            (b"cookie", b"meshlight_session=1"),
            (b"origin", b"http://127.0.0.1:6374"),
            (b"sec-fetch-site", b"same-origin"),
            (b"host", b"127.0.0.1:6374"),
            (b"content-length", b"3"),
            (b"transfer-encoding", b"chunked"),
            (b"connection", b"keep-alive, x-private"),
            (b"x-private", b"1"),
            (b"x-meshlight-via", b"forged"),
            (b"accept-encoding", b"gzip, br"),
            (b"content-type", b"application/json"),
            (b"openai-beta", b"assistants=v2"),
        ],
        [(b"authorization", b"Bearer backend")],
    )
    assert sent == [
        (b"content-type", b"application/json"),
        (b"openai-beta", b"assistants=v2"),
        (b"accept-encoding", b"identity"),
        (b"authorization", b"Bearer backend"),
    ]


def test_a_backend_can_neither_set_a_cookie_nor_open_this_origin() -> None:
    got = to_client(
        [
            (b"content-type", b"application/json"),
            (b"set-cookie", b"a=b"),
            (b"access-control-allow-origin", b"*"),
            (b"x-meshlight-backend", b"forged"),
            (b"connection", b"close"),
            (b"server", b"llama.cpp"),
            (b"x-ratelimit-remaining", b"9"),
        ],
        [(b"x-meshlight-backend", b"a")],
    )
    assert got == [
        (b"content-type", b"application/json"),
        (b"x-ratelimit-remaining", b"9"),
        (b"x-content-type-options", b"nosniff"),
        (b"x-meshlight-backend", b"a"),
    ]


def test_each_request_has_an_id_of_its_own() -> None:
    ids = {request_id()[1] for _ in range(100)}
    assert len(ids) == 100
    assert all(made.startswith(b"req_") for made in ids)


def test_a_web_page_says_that_it_is_one() -> None:
    assert is_page([(b"x", b"text/html"), (b"content-type", b"TEXT/html;charset=utf-8")])
    assert not is_page([(b"x", b"text/html"), (b"content-type", b"application/json")])
    assert not is_page([])
