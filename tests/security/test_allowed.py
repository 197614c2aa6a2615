"""Hosts and origins that the user allows: always with the key, effective at once, and nothing else is allowed."""

from collections.abc import Iterator

import pytest

from meshlight.domain.allowed_callers import host_fault, origin_fault
from security.wire import KEY, LOOPS, Echo, Gateway, running

HEADER = ("X-Api-Key", KEY.decode())
JSON = ("Content-Type", "application/json")
PREFLIGHT = (
    ("Access-Control-Request-Method", "POST"),
    ("Access-Control-Request-Headers", "authorization,content-type"),
)
APP = "http://localhost:3000"
HOSTS: list[str] = []
ORIGINS: list[str] = []


@pytest.fixture(scope="module")
def open_gateway(loop_name: str, shared_echo: Echo) -> Iterator[Gateway]:
    with running(shared_echo, LOOPS[loop_name], allowed_hosts=HOSTS, allowed_origins=ORIGINS) as found:
        yield found


@pytest.fixture
def asked(open_gateway: Gateway, echo: Echo) -> Iterator[Gateway]:
    HOSTS[:] = ["mesh.example", "*.lan", "box.example:8443"]
    ORIGINS[:] = [APP, "chrome-extension://abcdefgh", "moz-extension://*"]
    assert echo.asked == []
    yield open_gateway
    HOSTS.clear()
    ORIGINS.clear()
    open_gateway.settings["require_key"] = True


@pytest.mark.parametrize(
    "host",
    [
        "host.docker.internal:{port}",
        "host.docker.internal",
        "gateway.docker.internal:{port}",
        "host.containers.internal:6374",
        "Host.Docker.Internal:{port}",
        "host.lima.internal:{port}",
    ],
)
def test_a_container_reaches_its_machine_by_the_name_its_engine_gives_it(host: str, gateway: Gateway) -> None:
    named = host.format(port=gateway.port)
    assert gateway.request("GET", "/v1/models", HEADER, host=named).status == 200
    assert gateway.request("GET", "/v1/models", host=named).status == 401


@pytest.mark.parametrize(
    "host",
    [
        "evil.internal",
        "metadata.google.internal",
        "host.docker.internal.evil.example",
        "host.docker.internal@evil.example",
        "xhost.docker.internal",
        "host.docker.internal.",
        "host..internal",
        "host.docker.internal:x",
    ],
)
def test_a_name_like_a_container_s_is_refused_with_the_key(host: str, gateway: Gateway, echo: Echo) -> None:
    assert gateway.request("GET", "/v1/models", HEADER, host=host).status == 403
    assert echo.asked == []


@pytest.mark.parametrize(
    "host", ["mesh.example", "MESH.example:443", "gpu.lan", "a.b.lan:80", "box.example:8443"]
)
def test_a_name_that_the_user_allows_is_answered_to_the_key_alone(host: str, asked: Gateway) -> None:
    for path in ("/v1/models", "/mesh/snapshot", "/healthz", "/"):
        assert asked.request("GET", path, HEADER, host=host).status == 200
    asked.settings["require_key"] = False
    for path in ("/v1/models", "/mesh/snapshot", "/healthz", "/", "/metrics"):
        assert asked.request("GET", path, host=host).status == 401
        assert asked.request("GET", path, ("X-Api-Key", "wrong"), host=host).status == 401


@pytest.mark.parametrize("host", ["other.example", "lan", "mesh.example.evil.example", "box.example", "xlan"])
def test_any_other_name_stays_refused(host: str, asked: Gateway, echo: Echo) -> None:
    assert asked.request("GET", "/v1/models", HEADER, host=host).status == 403
    assert echo.asked == []


def test_a_name_taken_out_again_is_refused_at_once(asked: Gateway) -> None:
    assert asked.request("GET", "/v1/models", HEADER, host="mesh.example").status == 200
    HOSTS.remove("mesh.example")
    assert asked.request("GET", "/v1/models", HEADER, host="mesh.example").status == 403


@pytest.mark.parametrize("origin", [APP, "chrome-extension://abcdefgh", "moz-extension://0f-9"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/v1/messages"])
def test_a_page_that_the_user_allows_asks_first_and_then_with_the_key(
    origin: str, path: str, asked: Gateway
) -> None:
    named, site = ("Origin", origin), ("Sec-Fetch-Site", "cross-site")
    before = asked.request("OPTIONS", path, named, site, *PREFLIGHT)
    assert before.status == 204
    assert before.header("access-control-allow-origin") == origin
    assert before.header("access-control-allow-headers") == "authorization,content-type"
    assert "POST" in (before.header("access-control-allow-methods") or "")
    assert before.header("access-control-allow-credentials") is None

    reply = asked.request("POST", path, named, site, HEADER, JSON, body=b"{}")
    assert (reply.status, reply.header("access-control-allow-origin")) == (200, origin)
    assert "Origin" in reply.headers("vary")


def test_a_page_that_the_user_allows_reads_why_it_is_refused_and_needs_the_key(
    asked: Gateway, echo: Echo
) -> None:
    asked.settings["require_key"] = False
    for header in ((), (("X-Api-Key", "wrong"),)):
        reply = asked.request("POST", "/v1/chat/completions", ("Origin", APP), *header, JSON, body=b"{}")
        assert (reply.status, reply.header("access-control-allow-origin")) == (401, APP)
    assert echo.asked == []


def test_a_session_s_cookie_is_no_key_for_it(asked: Gateway, echo: Echo) -> None:
    cookie = ("Cookie", f"meshlight_session={asked.sessions.open()}")
    assert asked.request("GET", "/v1/models", ("Origin", APP), cookie).status == 401
    assert echo.asked == []


@pytest.mark.parametrize(
    "path", ["/mesh/backends", "/mesh/session", "/mesh/snapshot", "/metrics", "/healthz", "/"]
)
def test_it_may_ask_for_models_and_nothing_else(path: str, asked: Gateway, echo: Echo) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        reply = asked.request(method, path, ("Origin", APP), HEADER, JSON, *PREFLIGHT, body=b"{}")
        assert reply.status == 403
        assert b"access-control" not in reply.raw
    assert echo.asked == []


@pytest.mark.parametrize(
    "origin",
    ["null", "http://localhost:3001", "https://localhost:3000", "http://localhost:3000.evil.example", "*"],
)
def test_pages_of_any_other_origin_stay_refused(origin: str, asked: Gateway, echo: Echo) -> None:
    for method in ("POST", "OPTIONS"):
        reply = asked.request(
            method, "/v1/chat/completions", ("Origin", origin), HEADER, JSON, *PREFLIGHT, body=b"{}"
        )
        assert reply.status == 403
        assert b"access-control" not in reply.raw
    assert echo.asked == []


def test_a_preflight_at_a_name_that_is_not_ours_is_refused(asked: Gateway) -> None:
    reply = asked.request("OPTIONS", "/v1/models", ("Origin", APP), *PREFLIGHT, host="evil.example")
    assert reply.status == 403


@pytest.mark.parametrize("host", ["mesh.example", "*.example", "127.0.0.9", "[fd00::1]:6374", "box:8443"])
def test_these_are_names(host: str) -> None:
    assert host_fault(host) is None


@pytest.mark.parametrize(
    "host", ["", "*", "http://mesh.example", "mesh.example/", "a b", "a.*", "x:", "-x", "a\nb"]
)
def test_these_are_none(host: str) -> None:
    assert host_fault(host) is not None


@pytest.mark.parametrize(
    "origin", ["https://app.example", APP, "chrome-extension://abc", "moz-extension://*", "app://obsidian.md"]
)
def test_these_are_origins(origin: str) -> None:
    assert origin_fault(origin) is None


@pytest.mark.parametrize(
    "origin",
    ["", "*", "null", "app.example", "https://app.example/", "https://*", "https://a b", "https://A.example"],
)
def test_these_are_no_origins(origin: str) -> None:
    assert origin_fault(origin) is not None
