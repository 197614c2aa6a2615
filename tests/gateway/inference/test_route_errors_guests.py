"""What a peer reads of a failure: the cause, and no backend's name, address or key."""

import msgspec
import pytest

from gateway.rig import Rig
from meshlight.domain.backend import Backend, Reason
from meshlight.domain.errors import BackendFailed, EveryRouteDown, FirstByteTooLate, NotFound, Untranslatable
from meshlight.domain.operations import Operation
from meshlight.domain.peers import Peer
from meshlight.gateway.inference.failures import FailedAttempt
from meshlight.gateway.inference.headers import to_guest
from meshlight.gateway.inference.route_errors import (
    final_guest_error,
    for_guest,
    no_guest_route,
    nothing_shared,
)
from meshlight.gateway.inference.timeouts import Cause
from meshlight.gateway.server.disconnect import DisconnectListeners
from meshlight.http_client.client import Reply

SECRET = "attic 10.1.2.3:8080 sk-canary"
BACKEND = Backend(id="attic", name="attic", kind="llamacpp", ring="machine", url="http://10.1.2.3:8080")


def miss(code: str, cause: Cause | None = None, error: Untranslatable | None = None) -> FailedAttempt:
    return FailedAttempt(backend=BACKEND, reason=Reason(code, SECRET, SECRET), cause=cause, error=error)


@pytest.mark.parametrize(
    "code", ["refused", "loading", "rate-limited", "unauthorized", "hung", "anything-new"]
)
def test_no_word_of_the_owners_reasons_is_passed_on(code: str) -> None:
    error = final_guest_error("m", [miss("refused"), miss(code)])

    assert isinstance(error, EveryRouteDown)
    assert "'m'" in error.title
    assert not any(word in error.title + error.hint for word in SECRET.split())
    assert error.is_warming == (code == "loading")


def test_the_status_is_that_of_what_happened() -> None:
    assert isinstance(final_guest_error("m", [miss("first-byte-too-late", "first-byte")]), FirstByteTooLate)
    assert isinstance(final_guest_error("m", [miss("connection-lost")]), BackendFailed)
    text = Untranslatable("`top_k` has no counterpart.", "Leave it out.", "top_k")
    assert final_guest_error("m", [miss("untranslatable", error=text)]) is text
    assert isinstance(no_guest_route("m", lacks_path=True), NotFound)
    assert isinstance(no_guest_route("m", lacks_path=False), EveryRouteDown)
    assert nothing_shared().status == 404


QUOTES = [
    "connect http://10.1.2.3:8080/v1 failed",
    "dial tcp attic.fritz.box:8080: refused",
    "open /home/anna/models/small.gguf: no such file",
    "C:\\\\Users\\\\anna\\\\small.gguf",
    "organization org-anna has no access",
    "anna@attic: out of memory " * 2_000,
]
FACES_AND_SHAPES: list[tuple[Operation, list[str]]] = [
    ("chat/completions", ["error", "message"]),
    ("messages", ["error", "message"]),
    ("api/chat", ["error"]),
    ("gemini/generateContent", ["error", "message"]),
]


@pytest.mark.parametrize("text", QUOTES)
@pytest.mark.parametrize(("operation", "translator"), FACES_AND_SHAPES)
@pytest.mark.parametrize("status", [400, 404, 422, 429, 500, 503])
def test_of_a_backends_failing_answer_a_peer_gets_our_own_words(
    text: str, operation: Operation, translator: list[str], status: int
) -> None:
    headers = (
        (b"content-type", b"text/html"),
        (b"openai-organization", b"mine"),
        (b"content-length", b"9"),
        (b"retry-after", b"7"),
    )
    body = b'{"error":{"message":"%b"}}' % text.encode()
    reply = for_guest(Reply(status, headers, body, elapsed_s=0.0, reused=False), operation)

    assert reply.status == status
    assert len(reply.body) < 300
    assert not any(word in reply.body for word in (b"anna", b"attic", b"10.1", b"gguf", b"tcp"))
    found = msgspec.json.decode(reply.body)
    for step in translator:
        found = found[step]
    assert found.startswith(f"The model's server answered {status}: ")
    assert dict(reply.headers) == {
        b"content-type": b"application/json",
        b"content-length": b"%d" % len(reply.body),
        b"retry-after": b"7",
    }


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (b'{"error":{"code":"context_length_exceeded"}}', b"prompt is too long"),
        (b'{"error":{"type":"exceed_context_size_error","n_ctx":512}}', b"prompt is too long"),
        (b'{"error":"the prompt exceeds the available context size"}', b"prompt is too long"),
        (b'{"error":{"message":"image input is not supported - hint: mmproj"}}', b"accepts no images"),
        (b'{"error":"registry.ollama.ai/library/x does not support tools"}', b"accepts no tools"),
        (b'{"error":"this model: tools are not supported"}', b"accepts no tools"),
        (b'{"error":{"message":"Input flagged by moderation"}}', b"content filter"),
    ],
)
def test_a_peer_is_told_what_it_can_mend(text: bytes, answer: bytes) -> None:
    assert answer in for_guest(Reply(400, (), text, elapsed_s=0.0, reused=False), "messages").body


def test_headers_that_tell_of_the_owners_account_stay_here() -> None:
    headers = [
        (b"content-type", b"text/event-stream"),
        (b"x-request-id", b"r1"),
        (b"openai-organization", b"mine"),
        (b"x-ratelimit-remaining-requests", b"5"),
        (b"via", b"1.1 10.1.2.3"),
    ]
    assert [name for name, _ in to_guest(headers, [])] == [
        b"content-type",
        b"x-request-id",
        b"x-content-type-options",
    ]


async def test_the_short_cut_for_models_with_one_route_is_not_for_guests() -> None:
    rig = Rig()

    class Nobody:
        name, kind, url = "attic", "llamacpp", "http://127.0.0.1:9"

    rig.add(Nobody(), "m")  # type: ignore[arg-type]
    with pytest.raises(EveryRouteDown, match="attic"):
        await rig.send()
    rig.registry.put(BACKEND)
    inbound = rig.inbound("chat/completions", "m", b'{"model":"m"}')
    guest = Peer(id="a", name="Anna", url="", share_rings=())
    with pytest.raises(NotFound) as caught:
        await rig.relay.run(inbound.changed(guest=guest), None, DisconnectListeners())  # type: ignore[arg-type]
    assert caught.value.title == nothing_shared().title


STARTS = [b"", b"a", b"9", b"image ", b"support tools. ", b"context_length ", b"a.b-c+", b"[["]


@pytest.mark.parametrize("size", [0, 1 << 20])
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(
    "place", [b"http://10.0.0.1/v1", b"unix+http://h", b"[::1]:80", b"[fe80::1]", b"localhost:8"]
)
def test_no_address_is_told_whatever_stands_before_it_and_however_much(
    start: bytes, place: bytes, size: int
) -> None:
    text = start * (size // len(start) if size and start else 1) + b" " + place
    for status in (400, 500):
        body = for_guest(Reply(status, (), text, elapsed_s=0.0, reused=False), "chat/completions").body
        assert len(body) < 300
        assert place not in body


@pytest.mark.parametrize("media", [b"text/html", b"application/json"])
def test_a_sentence_stands_for_an_error_that_is_too_long_for_anybody(media: bytes) -> None:
    text = b"<p>" + b"a" * (1 << 20)
    headers = ((b"content-type", media),)
    reply = for_guest(Reply(500, headers, text, elapsed_s=0.0, reused=False), "chat/completions")
    assert "something failed there" in msgspec.json.decode(reply.body)["error"]["message"]
    assert dict(reply.headers)[b"content-type"] == b"application/json"
    assert dict(reply.headers)[b"content-length"] == b"%d" % len(reply.body)
