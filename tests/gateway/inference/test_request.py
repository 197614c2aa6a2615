"""A request is sent on with its route's name of the model, in the body or in the path, and otherwise unchanged."""

import pytest

from meshlight.gateway.inference.request import Head, InferenceRequest


def inbound(target: str, model: str, named: str | None, body: bytes = b"{}") -> InferenceRequest:
    return InferenceRequest(
        operation="api/chat" if target.startswith("/api/") else "gemini/streamGenerateContent",
        target=target,
        headers=(),
        content_type=b"application/json",
        body=body,
        head=Head(model),
        named=named,
    )


@pytest.mark.parametrize(
    "name", ["fast", "g:fast", "sky/flash", "sky%2Fflash", "a/models/b", "x%3Ay", "..", "m%3Fx"]
)
@pytest.mark.parametrize("query", ["", "?alt=sse", "?a=b:c/models/d"])
def test_the_path_gets_the_routes_name_whatever_the_client_called_it(name: str, query: str) -> None:
    request = inbound(f"/v1beta/models/{name}:streamGenerateContent{query}", "as-asked", "")
    assert request.target_for("flash") == f"/v1beta/models/flash:streamGenerateContent{query}"


def test_an_escaped_colon_before_the_verb_is_one() -> None:
    request = inbound("/v1beta/models/fast%3AstreamGenerateContent", "fast", "")
    assert request.target_for("flash") == "/v1beta/models/flash:streamGenerateContent"


@pytest.mark.parametrize(
    ("model", "written"),
    [("a/b", "a%2Fb"), ("../x", "..%2Fx"), ("a?b#c", "a%3Fb%23c"), ("a:b", "a%3Ab"), ("a\r\nb", "a%0D%0Ab")],
)
def test_a_hostile_name_stays_one_word_of_the_path(model: str, written: str) -> None:
    request = inbound("/v1beta/models/fast:streamGenerateContent", "fast", "")
    assert request.target_for(model) == f"/v1beta/models/{written}:streamGenerateContent"


def test_the_routes_own_name_leaves_path_and_body_as_they_came() -> None:
    target = "/v1/models/flash:streamGenerateContent?alt=sse"
    request = inbound(target, "flash", "", b'{"model": "x"}')
    assert request.target_for("flash") == target
    assert request.body_for("flash") is request.body


def test_a_tag_that_ollamas_client_left_out_is_written_where_the_backend_needs_it() -> None:
    body = b'{"model":"llama3"}'
    request = inbound("/api/chat", "llama3:latest", "llama3", body)
    assert request.body_for("llama3:latest") == b'{"model":"llama3:latest"}'
    assert request.body_for("llama3") is body
    assert request.body_for("other") == b'{"model":"other"}'
