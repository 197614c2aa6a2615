"""Credentials and hop-by-hop headers end at the gateway, in both directions."""

import pytest

from meshlight.gateway.inference.headers import _passes, is_page, request_id, to_backend, to_client

JSON = b"application/json"


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


ACCOUNTS = [
    b"remote-user",
    b"x-remote-user",
    b"x-forwarded-for",
    b"x-forwarded-user",
    b"x-forwarded-access-token",
    b"forwarded",
    b"x-real-ip",
    b"x-auth-request-email",
    b"x-user-id",
    b"x-webauth-user",
    b"cf-access-jwt-assertion",
    b"proxy-authorization",
    b"cookie",
    b"x-amz-security-token",
    b"x-goog-user-project",
    b"x-goog-iap-jwt-assertion",
    b"x-ms-client-principal",
    b"chatgpt-account-id",
    b"x-api-key",
    b"x-litellm-api-key",
    b"x-portkey-api-key",
    b"x-openai-auth",
    b"tailscale-user-login",
    b"via",
    b"x-http-method-override",
    b"x-original-url",
    b"x-anything-new",
    b"content-encoding",
]
CLIENTS = [
    b"accept",
    b"user-agent",
    b"openai-beta",
    b"openai-organization",
    b"anthropic-version",
    b"anthropic-beta",
    b"anthropic-dangerous-direct-browser-access",
    b"x-stainless-retry-count",
    b"x-claude-code-session-id",
    b"idempotency-key",
    b"x-session-id",
    b"session_id",
    b"conversation_id",
    b"traceparent",
    b"x-request-id",
    b"http-referer",
    b"x-title",
    b"x-goog-api-client",
    b"x-litellm-tags",
]


@pytest.mark.parametrize("is_guest", [False, True])
@pytest.mark.parametrize("name", ACCOUNTS)
def test_no_header_that_tells_who_asks_or_by_which_account_goes_on(name: bytes, is_guest: bool) -> None:
    sent = to_backend([(name, b"x")], [(b"authorization", b"ours")], JSON, is_guest=is_guest)
    assert sent == [
        (b"content-type", JSON),
        (b"accept-encoding", b"identity"),
        (b"authorization", b"ours"),
    ]


def test_what_the_clients_of_the_apis_send_goes_on_and_of_a_peers_next_to_nothing() -> None:
    headers = [(name, b"x") for name in CLIENTS]
    assert {name for name, _ in to_backend(headers, [])} >= set(CLIENTS)
    assert [name for name, _ in to_backend(headers, [], is_guest=True)] == [
        b"content-type",
        b"accept",
        b"anthropic-version",
        b"anthropic-beta",
        b"accept-encoding",
    ]


def test_names_of_headers_are_not_kept_without_end() -> None:
    for number in range(5_000):
        to_backend([(b"x-%d" % number, b"1")], [])
    assert len(_passes) <= 1_024


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
