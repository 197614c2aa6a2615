"""What a 401 or 403 refuses, judged by its text."""

import pytest

from meshlight.gateway.inference.failures import RefusalSubject, may_mean_path, subject
from meshlight.http_client.reply import Reply

JSON = ((b"content-type", b"application/json"),)


def reply(body: bytes, status: int = 403) -> Reply:
    return Reply(status, JSON, body, 0.0, reused=False)


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        (b'{"error":{"message":"Your input was flagged","code":403}}', "request"),
        (b'{"errors":[{"message":"input flagged"}]}', "request"),
        (b'{"detail":{"reason":"content filter"}}', "request"),
        (b"The message was rejected: it names 'invalid_api_key'", "request"),
        (b'{"error":{"message":"You quoted \\"invalid_api_key\\" to us"}}', "request"),
        (b'{"error":{"message":"key not allowed to access model. Tried m"}}', "model"),
        (b'{"message":"You don\'t have access to the model with the specified model ID."}', "model"),
        (b'{"error":{"message":"nope","code":"invalid_api_key"}}', "key"),
        (b'{"error":{"message":"This machine is not paired with yours.","code":"boundary"}}', "key"),
        (b'{"error":{"message":"The API key is not valid: it was revoked"}}', "key"),
        (b'{"error":{"message":"Account deactivated"}}', "key"),
        (b'{"detail":"Forbidden"}', "unclear"),
        (b"403 Forbidden", "unclear"),
        (b"Access denied", "unclear"),
        (b'{"error":{"code":403}}', "unclear"),
        (b"", "unclear"),
        (b"<html>your account is suspended</html>", "unclear"),
    ],
)
def test_a_403_says_what_it_refuses(body: bytes, meant: RefusalSubject) -> None:
    assert subject(reply(body)) == meant


@pytest.mark.parametrize(
    ("body", "status", "may"),
    [
        (b"", 401, True),
        (b'{"error":"Invalid API key"}', 401, True),
        (b'{"error":"input flagged"}', 401, False),
        (b'{"error":"Virtual key is not allowed to call this route"}', 403, True),
        (b'{"error":"Forbidden"}', 403, False),
    ],
)
def test_it_may_mean_the_path(body: bytes, status: int, may: bool) -> None:
    assert may_mean_path(reply(body, status)) is may
