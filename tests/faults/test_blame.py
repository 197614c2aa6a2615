"""A status speaks of the request first: one request's fault is not held against a backend, nor against the others."""

from pathlib import Path
from typing import Any

import pytest

from faults.raw import RawBackend, chat, chunked, complete, responds, tune
from meshlight.simulator.engine import SimulatedEngine
from node import IN_ORDER, Node
from servers.byte_server import Request

JSON = b"content-type: application/json"
NO_ACCESS = "Project `proj_1` does not have access to model `m`"
FLAGGED = [
    "input flagged",
    "Your input was flagged by our moderation (sexual/minors)",
    "This request violates our usage policies",
    "Blocked by the guardrail `pii`",
    "The request was rejected by the content filter: it quotes an invalid api key",
    "this prompt is not for us",
    "Your organization's policy blocked this prompt",
]
OF_MODEL = [
    NO_ACCESS,
    "Your account is not authorized to invoke this model",
    "The caller does not have permission",
]
OF_KEY = [
    (401, "Incorrect API key provided: sk-1"),
    (401, "token expired or incorrect"),
    (403, "The API key has been revoked"),
    (403, "Your account is suspended"),
    (401, "No auth credentials found"),
]


def error(message: str, status: int) -> bytes:
    body = b'{"error":{"message":"%b"}}' % message.encode()
    return complete(body, JSON, status=b"%d Odd" % status)


async def health(node: Node, name: str = "a") -> tuple[str, str]:
    found = (await node.backend(name))["health"]
    return found["state"], found["reason"]


@pytest.mark.parametrize("message", [*FLAGGED, *OF_MODEL])
async def test_what_one_request_may_not_have_is_told_to_its_client_and_to_nobody_else(
    tmp_path: Path, message: str
) -> None:
    async with (
        RawBackend("a", respond=responds(error(message, 403))) as first,
        RawBackend("b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        answer = await node.chat("m")
        assert (answer.status_code, answer.json()["error"]["message"]) == (403, message)
        assert answer.headers["x-meshlight-attempts"] == "1"
        assert not second.posts
        assert await health(node) == await health(node, "b") == ("healthy", "ok")


async def test_a_model_that_an_account_may_not_use_is_asked_for_elsewhere_for_a_while(tmp_path: Path) -> None:
    async with (
        RawBackend("a", ["m", "n"], respond=responds(error(NO_ACCESS, 403))) as first,
        RawBackend("b", ["m"]) as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        assert (await node.chat("m")).status_code == 403
        assert (await node.chat("m")).headers["x-meshlight-backend"] == "b"
        first.respond = second.respond
        assert (await node.chat("n")).headers["x-meshlight-backend"] == "a"
        routes = (await node.http.get("/mesh/route?model=m")).json()["routes"]
        assert [route["tier"] for route in routes] == ["ready", "last-resort"]
        assert "may not use m" in routes[1]["why"]


async def test_with_no_other_route_such_a_model_is_still_asked_for(tmp_path: Path) -> None:
    async with (
        RawBackend("a", respond=responds(error(NO_ACCESS, 403))) as backend,
        Node(tmp_path, [backend]) as node,
    ):
        for _ in range(3):
            answer = await node.chat("m")
            assert (answer.status_code, answer.json()["error"]["message"]) == (403, NO_ACCESS)
        backend.respond = responds(complete(b"{}", JSON))
        assert (await node.chat("m")).status_code == 200
        routes = (await node.http.get("/mesh/route?model=m")).json()["routes"]
        assert [route["tier"] for route in routes] == ["last-resort"]  # asked to wait, it waits


@pytest.mark.parametrize(("status", "message"), OF_KEY)
async def test_a_backend_that_names_the_key_or_the_account_is_not_asked_again(
    tmp_path: Path, status: int, message: str
) -> None:
    async with (
        RawBackend("a", respond=responds(error(message, status))) as first,
        RawBackend("b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        assert (await node.chat("m")).headers["x-meshlight-backend"] == "b"
        assert (await health(node))[1] == ("unauthorized" if status == 401 else "forbidden")
        assert (await node.chat("m")).headers["x-meshlight-attempts"] == "1"
        assert len(first.posts) == 1


@pytest.mark.parametrize(
    "answer",
    [
        complete(b"", status=b"401 Unauthorized"),
        complete(b"Unauthorized", status=b"401 Unauthorized"),
        complete(b"<html>403 Forbidden</html>", b"content-type: text/html", status=b"403 Forbidden"),
        complete(b'{"detail":"Forbidden"}', JSON, status=b"403 Forbidden"),
    ],
)
async def test_a_refusal_without_a_reason_goes_on_and_a_probe_decides(tmp_path: Path, answer: bytes) -> None:
    async with (
        RawBackend("a", respond=responds(answer)) as first,
        RawBackend("b") as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        looks = len(first.requests)
        assert (await node.chat("m")).headers["x-meshlight-backend"] == "b"
        await node.refresh()
        assert len(first.requests) > looks + 1
        assert await health(node) == ("healthy", "ok")


async def test_a_key_that_the_next_probe_finds_refused_is_told_as_such(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("vllm", "a", ["m"]) as first,
        SimulatedEngine("vllm", "b", ["m"]) as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        await first.fault("status", status=401)
        assert (await node.chat("m")).headers["x-meshlight-backend"] == "b"
        assert (await node.until("a", "unhealthy"))["health"]["reason"] == "unauthorized"


async def test_alone_it_is_told_as_a_route_that_is_down_and_not_as_the_clients_key(tmp_path: Path) -> None:
    async with SimulatedEngine("vllm", "a", ["m"]) as engine, Node(tmp_path, [engine]) as node:
        await engine.fault("status", status=401, scope="inference")
        answer = await node.chat("m")
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "every_route_down")
        assert await health(node) == ("healthy", "ok")


class Gate(RawBackend):
    """Checks keys before paths: what it lacks is refused by 401, whoever asks."""

    def __init__(self, words: bytes) -> None:
        super().__init__("a", respond=self._say)
        self._words = words

    async def _say(self, writer: Any, asked: Request) -> None:
        if asked.target != "/v1/chat/completions":
            await responds(complete(self._words, JSON, status=b"401 Unauthorized"))(writer, asked)
        elif b'"stream":true' in asked.body:
            event = b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}\n\n'
            await responds(*chunked(event, b"data: [DONE]\n\n"))(writer, asked)
        else:
            body = b'{"choices":[{"index":0,"message":{"content":"hi"},"finish_reason":"stop"}]}'
            await responds(complete(body, JSON))(writer, asked)


@pytest.mark.parametrize("words", [b'{"error":"Unauthorized"}', b'{"error":"Invalid API key"}', b""])
@pytest.mark.parametrize("is_stream", [False, True])
async def test_a_path_that_is_refused_by_401_while_the_key_is_good_is_a_path_that_is_lacking(
    tmp_path: Path, words: bytes, *, is_stream: bool
) -> None:
    async with Gate(words) as gate, Node(tmp_path, [gate]) as node:
        for _ in range(2):
            answer = await node.http.post("/v1/messages", json=chat("m", max_tokens=20, stream=is_stream))
            assert answer.status_code == 200, answer.text
            assert "hi" in answer.text
        assert await health(node) == ("healthy", "ok")
        lacking = [request for request in gate.posts if request.target != "/v1/chat/completions"]
        assert len(lacking) == 1  # it is known from then on


@pytest.mark.parametrize("words", [b'{"error":"Unauthorized"}', b'{"error":"Invalid API key"}'])
async def test_nor_does_a_path_without_translation_cost_the_others_their_backend(
    tmp_path: Path, words: bytes
) -> None:
    async with Gate(words) as gate, Node(tmp_path, [gate]) as node:
        assert (await node.chat("m")).status_code == 200
        for _ in range(4):
            answer = await node.http.post("/v1/rerank", json={"model": "m", "query": "a", "documents": ["b"]})
            assert answer.status_code == 503
            assert "/v1/rerank (401), though it accepts the key elsewhere" in answer.text
            assert (await node.chat("m")).status_code == 200
        assert await health(node) == ("healthy", "ok")


@pytest.mark.parametrize("path", ["rerank", "responses", "audio/speech", "images/generations"])
async def test_not_even_when_such_a_path_is_the_first_that_is_asked_for(tmp_path: Path, path: str) -> None:
    async with Gate(b'{"error":"Invalid API key"}') as gate, Node(tmp_path, [gate]) as node:
        fields = {"query": "a", "documents": ["b"], "input": "a", "prompt": "a", "voice": "v"}
        await node.http.post(f"/v1/{path}", json={"model": "m", **fields})
        assert await health(node) == ("healthy", "ok")
        assert (await node.chat("m")).status_code == 200


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "message", [FLAGGED[0], NO_ACCESS, "Your API key does not have permission to use the resource"]
)
async def test_a_cloud_keeps_its_health_when_it_refuses_one_request(
    tmp_path: Path, kind: Any, message: str
) -> None:
    first, second = RawBackend("a", respond=responds(error(message, 403))), RawBackend("b")
    first.kind = second.kind = kind
    async with first, second, Node(tmp_path, [first, second], IN_ORDER) as node:
        answer = await node.chat("m")
        assert (answer.status_code, answer.json()["error"]["message"]) == (403, message)
        assert not second.posts
        assert await health(node) == ("healthy", "ok")


DEAR: list[tuple[str, dict[str, Any]]] = [
    ("images/generations", {"prompt": "a boat"}),
    ("audio/speech", {"input": "hello", "voice": "demo"}),
    ("responses", {"input": "hi", "store": True}),
]


@pytest.mark.parametrize(("path", "fields"), DEAR)
@pytest.mark.parametrize("status", [401, 404, 405, 429, 501, 503, 529])
async def test_what_was_refused_before_it_was_computed_is_answered_by_another_however_dear(
    tmp_path: Path, path: str, fields: dict[str, Any], status: int
) -> None:
    async with (
        SimulatedEngine("openai", "a", ["m"]) as first,
        SimulatedEngine("openai", "b", ["m"]) as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        await first.fault("status", status=status, scope="inference")
        answer = await node.http.post(f"/v1/{path}", json={"model": "m", **fields})
        assert (answer.status_code, answer.headers["x-meshlight-backend"]) == (200, "b")


async def test_a_transcription_moves_on_too(tmp_path: Path) -> None:
    async with (
        SimulatedEngine("openai", "a", ["m"]) as first,
        SimulatedEngine("openai", "b", ["m"]) as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        await first.fault("status", status=404, scope="inference")
        answer = await node.http.post(
            "/v1/audio/transcriptions", data={"model": "m"}, files={"file": ("a.wav", b"RIFF", "audio/wav")}
        )
        assert (answer.status_code, answer.headers["x-meshlight-backend"]) == (200, "b")


@pytest.mark.parametrize(("path", "fields"), DEAR)
@pytest.mark.parametrize("status", [500, 502, 504])
async def test_what_may_have_been_computed_is_not_sent_again(
    tmp_path: Path, path: str, fields: dict[str, Any], status: int
) -> None:
    async with (
        SimulatedEngine("openai", "a", ["m"]) as first,
        SimulatedEngine("openai", "b", ["m"]) as second,
        Node(tmp_path, [first, second], IN_ORDER) as node,
    ):
        await first.fault("status", status=status, scope="inference")
        answer = await node.http.post(f"/v1/{path}", json={"model": "m", **fields})
        assert answer.status_code == status
        assert not second.calls()


async def test_a_clouds_key_is_probed_when_a_refusal_leaves_it_open(tmp_path: Path) -> None:
    async with SimulatedEngine("openai", "a", ["m"]) as first, Node(tmp_path, [first]) as node:
        await tune(node, "a", ring="cloud")
        assert (await node.chat("m")).status_code == 200
        await first.fault("status", status=401, scope="inference")
        assert (await node.chat("m")).status_code == 503
        assert await health(node) == ("healthy", "ok")
