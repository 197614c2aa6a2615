"""The inference app by itself: which paths it accepts, what it does not pass on, how our own faults look."""

import logging

import pytest

from gateway.rig import Rig
from meshlight.domain.peers import Peer
from meshlight.gateway.access.guard import PAGE_CHAT
from meshlight.gateway.inference.app import Inference, InferenceDispatch
from meshlight.gateway.inference.begun import Begun
from meshlight.gateway.inference.request import GUEST, InferenceRequest
from meshlight.gateway.inference.sinks import Sink
from meshlight.gateway.models.ollama import Ollama
from meshlight.gateway.models.openai import ModelCatalog
from meshlight.gateway.server.asgi import ASGIApp, Message, Receive, Scope, Send
from meshlight.gateway.server.disconnect import DISCONNECT, DisconnectListeners
from meshlight.gateway.server.request_cycle import OFFER

CANARY = "canary-prompt-31c7"
BODY = b'{"model": "m", "x": "canary-prompt-31c7"}'


class Stub:
    """A relay that notes what it is asked, or breaks."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.requests: list[InferenceRequest] = []

    async def run(
        self,
        inbound: InferenceRequest,
        sink: Sink,
        disconnect: DisconnectListeners,  # noqa: ARG002 - the relay's own
        begun: Begun | None = None,  # noqa: ARG002 - the relay's own
    ) -> None:
        self.requests.append(inbound)
        if self.error is not None:
            raise self.error
        await sink.start(200, [])
        await sink.end(b"ok")


def inference_of(relay: Stub) -> Inference:
    registry = Rig().registry
    return Inference(relay, ModelCatalog(registry, 7), Ollama(registry, 7, "1.0"))


async def ask(
    relay: Stub,
    path: str,
    query: bytes = b"",
    method: str = "POST",
    *,
    inference: Inference | None = None,
    guest: Peer | None = None,
    body: bytes = BODY,
) -> tuple[int, bytes]:
    sent: list[Message] = []
    scope: Scope = {
        "type": "http",
        "method": method,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [(b"content-type", b"application/json")],
        "extensions": {DISCONNECT: DisconnectListeners(), OFFER: lambda _: False},
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    if guest is not None:
        scope["extensions"][GUEST] = guest
    await (inference or inference_of(relay))(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize(
    ("query", "passed"),
    [
        (b"", "/v1/completions"),
        (b"a=1&b", "/v1/completions?a=1&b"),
        (b"key=sk", "/v1/completions"),
        (b"a=%20&KEY=sk&api-key=sk&api_key=sk&b=2", "/v1/completions?a=%20&b=2"),
        (b"k%65y=sk&access%5Ftoken=sk&token=sk", "/v1/completions"),
        (b"monkey=1&api-version=2", "/v1/completions?monkey=1&api-version=2"),
    ],
)
async def test_keys_in_the_query_stay_here_and_the_rest_passes_as_it_is(query: bytes, passed: str) -> None:
    relay = Stub()
    assert await ask(relay, "/v1/completions", query) == (200, b"ok")
    assert relay.requests[0].target == passed


@pytest.mark.parametrize(
    "path",
    [
        "/v1/",
        "/v1/chat%2Fcompletions",
        "/v1/chat/completions/",
        "/v1/a.b",
        "/v1/../x",
        "/v1//x",
        "/v1/x y",
        "/v1/x%00",
        "/v1/x;a=b",
        "/v1/\xe9",
        "/v1/" + "x" * 200,
        "/v1beta/x",
    ],
)
async def test_paths_that_are_not_clean_are_not_relayed(path: str) -> None:
    relay = Stub()
    status, body = await ask(relay, path)
    assert (status, b"chat/completions" in body) == (404, True)
    assert not relay.requests


@pytest.mark.parametrize("path", ["/v1/x", "/v1/systemone", "/v1/audio/voices_2", "/v1/responses/compact"])
async def test_an_unknown_path_is_relayed_when_its_body_names_a_model(path: str) -> None:
    relay = Stub()
    assert await ask(relay, path, b"a=1&key=sk") == (200, b"ok")
    request = relay.requests[0]
    assert (request.operation, request.target, request.head.model) == ("other", f"{path}?a=1", "m")
    assert (request.path, request.is_costly) == (path, True)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"x", b'{"model": null}', b'{"model": ""}', b'{"model": 5}']
)
async def test_an_unknown_path_without_a_model_is_unknown(body: bytes) -> None:
    relay = Stub()
    status, answer = await ask(relay, "/v1/systemone", body=body)
    assert (status, b"if its JSON body names a model" in answer) == (404, True)
    assert not relay.requests


@pytest.mark.parametrize(
    "body", [b'{"model": "a", "model": "b"}', b'{"Model": "a"}', b'{"model": "a", "Stream": 1}']
)
async def test_an_unknown_path_with_an_ambiguous_body_is_refused(body: bytes) -> None:
    relay = Stub()
    assert (await ask(relay, "/v1/systemone", body=body))[0] == 400
    assert not relay.requests


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_only_posts_to_unknown_paths_are_relayed(method: str) -> None:
    relay = Stub()
    assert (await ask(relay, "/v1/systemone", method=method))[0] == 404
    assert not relay.requests


@pytest.mark.parametrize("path", ["/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/x/load"])
async def test_a_guest_loads_nothing(path: str) -> None:
    relay = Stub()
    guest = Peer(id="a", name="a", url="")
    assert (await ask(relay, path, guest=guest))[0] == 404
    assert (await ask(relay, "/v1/score", guest=guest))[0] == 200
    assert [request.path for request in relay.requests] == ["/v1/score"]


async def test_a_fault_of_our_own_is_told_without_what_it_was_about(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    status, body = await ask(Stub(RuntimeError(f"can't relay {CANARY}")), "/v1/chat/completions")
    assert (status, b"internal_error" in body) == (500, True)
    assert "RuntimeError" in caplog.text
    assert CANARY not in caplog.text + body.decode()


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
async def test_models_are_only_read(method: str) -> None:
    assert (await ask(Stub(), "/v1/models/m", method=method))[0] == 405


@pytest.mark.parametrize("path", ["/v1/models", "/v1beta/models", "/api/tags", "/api/version", "/api/ps"])
async def test_lists_may_be_asked_for_by_head(path: str) -> None:
    assert (await ask(Stub(), path, method="HEAD"))[0] == 200


async def test_a_tag_is_no_verb_of_geminis() -> None:
    relay = Stub()
    assert (await ask(relay, "/v1/models/llama3:8b", method="GET"))[0] == 404
    assert (await ask(relay, "/v1beta/models/a%2Fb:8b:generateContent", body=b"{}"))[0] == 200
    assert [(request.operation, request.head.model) for request in relay.requests] == [
        ("gemini/generateContent", "a/b:8b")
    ]


async def test_a_guest_reaches_no_response_but_its_own() -> None:
    relay = Stub()
    inference = inference_of(relay)
    guests = [None, Peer(id="a", name="a", url=""), Peer(id="b", name="b", url="")]
    for guest in guests:
        await ask(relay, "/v1/responses", inference=inference, guest=guest)
        stored = relay.requests[-1].stored
        assert stored is not None
        stored.keep(f"resp_mesh_{guest and guest.id}", None, (), b'{"output":[]}')
    for guest in guests:
        own = f"/v1/responses/resp_mesh_{guest and guest.id}"
        for other in guests:
            found, _ = await ask(relay, own, method="GET", inference=inference, guest=other)
            assert found == (200 if other is guest else 404)
            if other is not guest:
                gone, _ = await ask(relay, own, method="DELETE", inference=inference, guest=other)
                assert gone == 404
        gone, answer = await ask(relay, own, method="DELETE", inference=inference, guest=guest)
        assert (gone, b'"deleted":true' in answer) == (200, True)
        assert (await ask(relay, own, method="GET", inference=inference, guest=guest))[0] == 404
    assert (await ask(relay, "/v1/responses/x", method="PUT", inference=inference))[0] == 405


async def test_other_requests_carry_no_responses() -> None:
    relay = Stub()
    await ask(relay, "/v1/chat/completions")
    assert relay.requests[0].stored is None


async def test_the_address_of_the_page_is_the_one_for_chats_and_nothing_near_it_is() -> None:
    seen: list[tuple[str, str, bytes]] = []

    def note(name: str) -> ASGIApp:
        async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - an application's own
            seen.append((name, scope["path"], scope["raw_path"]))

        return app

    dispatch = InferenceDispatch(note("control"), note("inference"))
    for path in (PAGE_CHAT, f"{PAGE_CHAT}/x", "/mesh/chat"):
        scope: Scope = {"type": "http", "path": path, "raw_path": path.encode()}
        await dispatch(scope, receive_nothing, send_nowhere)
    chat = "/v1/chat/completions"
    assert seen[0] == ("inference", chat, chat.encode())
    assert [name for name, _, _ in seen[1:]] == ["control", "control"]


async def receive_nothing() -> Message:
    return {}


async def send_nowhere(message: Message) -> None:
    pass
