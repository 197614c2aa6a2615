"""Which request needs which key; and the key itself is never shown."""

from typing import Any

import pytest

from meshlight.domain.config import Config
from meshlight.gateway.access.guard import Guard
from meshlight.gateway.access.sessions import Sessions
from meshlight.gateway.server.asgi import Receive, Scope, Send
from security.wire import KEY, LOOPS, Echo, Gateway, running

GOOD = [
    ("Authorization", f"Bearer {KEY.decode()}"),
    ("authorization", f"bearer  {KEY.decode()}"),
    ("X-Api-Key", KEY.decode()),
    ("x-goog-api-key", KEY.decode()),
]
BAD = [
    ("Authorization", f"Basic {KEY.decode()}"),
    ("Authorization", KEY.decode()),
    ("Authorization", "Bearer "),
    ("Authorization", f"Bearer {KEY.decode()[:-1]}"),
    ("Authorization", f"Bearer {KEY.decode()}x"),
    ("X-Api-Key", ""),
    ("X-Api-Key", f"{KEY.decode()},{KEY.decode()}"),
    ("Api-Key", KEY.decode()),
    ("Cookie", f"meshlight_session={KEY.decode()}"),
]
LOCKED = [
    "/v1/models",
    "/v1",
    "/api/tags",
    "/v1beta/models",
    "/mesh/snapshot",
    "/mesh/schema",
    "/metrics",
    "/nothing",
]


@pytest.mark.parametrize("path", LOCKED)
@pytest.mark.parametrize("header", GOOD)
def test_the_key_opens(header: tuple[str, str], path: str, gateway: Gateway) -> None:
    assert gateway.request("GET", path, header).status == 200


@pytest.mark.parametrize("path", LOCKED)
@pytest.mark.parametrize("header", [*BAD, None])
def test_a_wrong_key_or_none_does_not(
    header: tuple[str, str] | None, path: str, gateway: Gateway, echo: Echo
) -> None:
    reply = gateway.request("GET", path, *([header] if header else []))

    assert reply.status == 401
    error = reply.json()["error"]
    if path.startswith("/api/"):  # as the clients of Ollama read it
        assert "local key" in error
    elif path.startswith("/v1beta/"):  # as those of Gemini do
        assert (error["code"], error["status"]) == (401, "UNAUTHENTICATED")
    else:
        assert error["type"] == "authentication_error"
    assert reply.header("www-authenticate") == "Bearer"
    assert reply.header("x-should-retry") == "false"
    assert echo.asked == []


@pytest.mark.parametrize("path", ["/healthz", "/"])
def test_liveness_and_the_page_need_no_key_but_can_only_be_read(
    path: str, gateway: Gateway, echo: Echo
) -> None:
    assert gateway.request("GET", path).status == 200
    assert gateway.request("HEAD", path).status == 200
    echo.asked.clear()
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert gateway.request(method, path).status == 405
    assert echo.asked == []


OPEN = {"/v1/models", "/v1", "/api/tags", "/v1beta/models", "/metrics"}


@pytest.mark.parametrize("path", LOCKED)
def test_without_require_key_inference_and_metrics_are_open_and_control_is_not(
    path: str, gateway: Gateway
) -> None:
    gateway.settings["require_key"] = False
    try:
        assert gateway.request("GET", path).status == (200 if path in OPEN else 401)
    finally:
        gateway.settings["require_key"] = True
    assert gateway.request("GET", path).status == 401


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../mesh/snapshot",
        "/v1/%2e%2e/mesh/snapshot",
        "/v1beta/..",
        "/../etc/passwd",
        "/app/../mesh/snapshot",
    ],
)
def test_no_path_leads_around_the_key(path: str, gateway: Gateway, echo: Echo) -> None:
    gateway.settings["require_key"] = False
    try:
        assert gateway.request("GET", path).status == 400
    finally:
        gateway.settings["require_key"] = True
    assert echo.asked == []


@pytest.mark.parametrize(
    "path", ["//mesh/snapshot", "/MESH/snapshot", "/%6desh/snapshot", "/./v1/models", "//v1/mesh"]
)
def test_another_spelling_of_a_path_is_locked_as_well(path: str, gateway: Gateway) -> None:
    gateway.settings["require_key"] = False
    try:
        assert gateway.request("GET", path).status == 401
    finally:
        gateway.settings["require_key"] = True


@pytest.mark.parametrize("path", ["//v1/models", "/v1/models/", "/models"])
def test_a_path_of_inference_wants_the_key_however_it_is_spelled(path: str, gateway: Gateway) -> None:
    assert gateway.request("GET", path).status == 401


def test_anthropic_clients_get_the_refusal_in_their_own_shape(gateway: Gateway) -> None:
    for path in ("/v1/messages", "/v1/messages/count_tokens"):
        text = gateway.request("POST", path, ("x-api-key", "wrong")).json()
        assert text["type"] == "error"
        assert text["error"]["type"] == "authentication_error"
        assert "wrong" in text["error"]["message"]


def test_the_sign_in_may_be_asked_without_a_key_by_a_post_alone(gateway: Gateway) -> None:
    json = ("Content-Type", "application/json")

    assert gateway.request("POST", "/mesh/session", json, body=b"{}").status == 200
    assert gateway.request("GET", "/mesh/session").status == 401
    assert gateway.request("DELETE", "/mesh/session").status == 401
    assert gateway.request("POST", "/mesh/session/code").status == 401


def test_a_websocket_handshake_is_answered_like_any_request_and_opens_nothing(
    gateway: Gateway, echo: Echo
) -> None:
    shake = (
        ("Upgrade", "websocket"),
        ("Connection", "upgrade"),
        ("Sec-WebSocket-Key", "eA=="),
        (
            "Sec-WebSocket-Version",
            "13",
        ),
    )

    assert gateway.request("GET", "/mesh/events", *shake).status == 401
    assert gateway.request("GET", "/mesh/events", *shake, ("Origin", "http://evil.example")).status == 403
    assert echo.asked == []


async def test_a_websocket_scope_is_closed() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
        raise AssertionError("reached")

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    guard = Guard(app, port=1, is_key=KEY.__eq__, sessions=Sessions(lambda: 0.0), settings=Config)
    await guard({"type": "websocket", "path": "/v1/x", "headers": []}, receive, send)

    assert sent == [{"type": "websocket.close", "code": 1008}]


def test_the_key_and_the_body_are_found_in_no_answer_and_no_log(
    loop_name: str, caplog: pytest.LogCaptureFixture
) -> None:
    prompt = "canary-prompt-77aa"

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        body = (await receive())["body"]
        if scope["path"] == "/v1/late":
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise ValueError(f"{body!r} {scope['headers']!r}")

    caplog.set_level(0)
    answers = b""
    with running(broken, LOOPS[loop_name]) as gateway:
        auth = ("Authorization", f"Bearer {KEY.decode()}")
        for path in ("/v1/x", "/v1/late", f"/v1/{'x' * 99}"):
            answers += gateway.request("POST", path, auth, body=prompt.encode()).raw
        answers += gateway.request("GET", "/v1/x", auth, host="evil.example").raw
        answers += gateway.request("GET", "/v1/x", auth, ("Origin", "null")).raw
        answers += gateway.request("GET", "/v1/x", ("X-Api-Key", KEY.decode() + "x")).raw
        answers += gateway.ask(
            b"GET /v1/x HTTP/1.1\r\nX-Api-Key: " + KEY + b"\x00\r\n\r\n" + prompt.encode()
        ).raw

    assert answers.count(b"HTTP/1.1 500") == 2
    assert "ValueError" in caplog.text
    for secret in (KEY.decode(), prompt):
        assert secret not in caplog.text
        assert secret.encode() not in answers
